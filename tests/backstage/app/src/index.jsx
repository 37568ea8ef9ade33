// The published TechDocs reader and what it needs to run: the catalog's pages, search for its search field, and a
// visitor who is signed in as the guest without being asked.

import '@backstage/ui/css/styles.css';
import { createApp } from '@backstage/frontend-defaults';
import { createFrontendModule } from '@backstage/frontend-plugin-api';
import { SignInPageBlueprint } from '@backstage/plugin-app-react';
import { ProxiedSignInPage } from '@backstage/core-components';
import catalog from '@backstage/plugin-catalog/alpha';
import search from '@backstage/plugin-search/alpha';
import techdocs from '@backstage/plugin-techdocs/alpha';
import { createRoot } from 'react-dom/client';

const signIn = createFrontendModule({
  pluginId: 'app',
  extensions: [
    SignInPageBlueprint.make({
      params: {
        loader: async () => props => <ProxiedSignInPage {...props} provider="guest" />,
      },
    }),
  ],
});

const app = createApp({ features: [catalog, search, techdocs, signIn] });

createRoot(document.getElementById('root')).render(app.createRoot());
