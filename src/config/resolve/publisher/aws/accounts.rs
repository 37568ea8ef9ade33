//! `aws`: the accounts that Backstage has credentials for (`@backstage/integration-aws-node`, `src/config.ts`).

use std::path::PathBuf;

use super::{Halves, half_a_pair, halves};
use crate::config::formats::TEXT;
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::storage::{AwsCredentials, AwsKeys, AwsRole};

const MAIN: &str = "aws.mainAccount";
const DEFAULTS: &str = "aws.accountDefaults";

/// What the session of a role is called, as for Backstage.
const SESSION: &str = "backstage";

/// All that `aws` says.
pub(super) struct Accounts {
    accounts: Vec<Account>,
    main: Account,
    defaults: Account,
}

/// One of the accounts, or what holds for those that are not listed.
#[derive(Default)]
struct Account {
    id: Option<String>,
    keys: Option<AwsKeys>,
    profile: Option<String>,
    role_name: Option<String>,
    region: Option<String>,
    partition: Option<String>,
    external_id: Option<String>,
    token_file: Option<PathBuf>,
}

impl Accounts {
    pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded) -> Self {
        let items = reader.maps("aws.accounts");
        let accounts = items.iter().map(|item| Account::listed(reader, loaded, item)).collect();
        let mut main = Account { region: text(reader, MAIN, "region"), ..Account::default() };
        main.read_own(reader, MAIN);
        let mut defaults = Account::default();
        defaults.read_role(reader, loaded, DEFAULTS);
        Self { accounts, main, defaults }
    }

    /// The credential that Backstage has where no account is named.
    pub(super) fn main(&self) -> AwsCredentials {
        self.main.own()
    }

    /// The credential for the account that `key` names.
    pub(super) fn of(&self, reader: &mut Reader<'_>, key: &str, id: &str) -> AwsCredentials {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            reader.wrong(key, format!("{id:?} is no account: write its number, in quotes"));
        }
        let listed = self.accounts.iter().find(|account| account.id.as_deref() == Some(id));
        match listed.unwrap_or(&self.defaults) {
            account if account.role_name.is_some() => account.role(id, self.main()),
            _ => match listed {
                Some(account) => account.own(),
                None => AwsCredentials::OfAccount { id: id.to_owned(), base: Box::new(self.main()) },
            },
        }
    }
}

impl Account {
    /// One of `aws.accounts`.
    fn listed(reader: &mut Reader<'_>, loaded: &Loaded, item: &str) -> Self {
        let mut account = Self {
            id: reader.required(&format!("{item}.accountId"), &TEXT, ": write the account's number, in quotes"),
            ..Self::default()
        };
        account.read_own(reader, item);
        account.read_role(reader, loaded, item);
        account.tell_contradictions(reader, item);
        account
    }

    /// What it has without any role.
    fn read_own(&mut self, reader: &mut Reader<'_>, base: &str) {
        let (id_key, secret_key) = (format!("{base}.accessKeyId"), format!("{base}.secretAccessKey"));
        let halves: Halves = halves(reader, base);
        match halves {
            (Some(access_key_id), Some(secret_access_key)) => {
                self.keys = Some(AwsKeys { access_key_id, secret_access_key, stands_at: base.to_owned() });
            }
            (Some(_), None) if !reader.has(&secret_key) => half_a_pair(reader, &id_key, &secret_key),
            (None, Some(_)) if !reader.has(&id_key) => half_a_pair(reader, &secret_key, &id_key),
            _ => {}
        }
        self.profile = text(reader, base, "profile");
        if self.profile.is_some() && self.keys.is_some() {
            reader.wrong(&format!("{base}.profile"), "stands beside accessKeyId: write one of them");
        }
    }

    /// The role in it, and what goes with a role.
    fn read_role(&mut self, reader: &mut Reader<'_>, loaded: &Loaded, base: &str) {
        self.role_name = text(reader, base, "roleName");
        self.region = text(reader, base, "region");
        self.partition = text(reader, base, "partition");
        self.external_id = text(reader, base, "externalId");
        self.token_file = text(reader, base, "webIdentityTokenFile").map(|path| loaded.directory.join(path));
        if self.role_name.is_none() {
            for name in ["region", "partition", "externalId", "webIdentityTokenFile"] {
                let key = format!("{base}.{name}");
                if reader.has(&key) {
                    reader.wrong(&key, "stands without roleName, which it is for: write both, or neither");
                }
            }
        }
        if self.token_file.is_some() && self.external_id.is_some() {
            let message = "stands beside webIdentityTokenFile, which knows no external id: write one of them";
            reader.wrong(&format!("{base}.externalId"), message);
        }
    }

    fn tell_contradictions(&self, reader: &mut Reader<'_>, base: &str) {
        if self.profile.is_some() && self.role_name.is_some() {
            reader.wrong(&format!("{base}.profile"), "stands beside roleName: write one of them");
        }
        let is_twice = [("accessKeyId", self.keys.is_some()), ("profile", self.profile.is_some())];
        for (name, _) in is_twice.iter().filter(|(_, is_there)| *is_there && self.token_file.is_some()) {
            reader.wrong(&format!("{base}.{name}"), "stands beside webIdentityTokenFile: write one of them");
        }
    }

    /// Its credential, whatever role there may be.
    fn own(&self) -> AwsCredentials {
        let region = self.region.clone();
        match (&self.keys, &self.profile) {
            (Some(keys), _) => AwsCredentials::Keys(keys.clone()),
            (None, Some(name)) => AwsCredentials::Profile { name: name.clone(), region },
            (None, None) => AwsCredentials::Chain { region },
        }
    }

    /// The role in account `id`, assumed with what it has itself, or else with `main`.
    fn role(&self, id: &str, main: AwsCredentials) -> AwsCredentials {
        let partition = self.partition.as_deref().unwrap_or("aws");
        let name = self.role_name.as_deref().unwrap_or_default();
        let arn = format!("arn:{partition}:iam::{id}:role/{name}");
        let role = AwsRole { arn, session_name: SESSION, region: self.region.clone() };
        match &self.token_file {
            Some(token_file) => AwsCredentials::WebIdentity { role, token_file: token_file.clone() },
            None => {
                let base = self.keys.clone().map_or(main, AwsCredentials::Keys);
                AwsCredentials::Role { role, external_id: self.external_id.clone(), base: Box::new(base) }
            }
        }
    }
}

fn text(reader: &mut Reader<'_>, base: &str, name: &str) -> Option<String> {
    reader.optional(&format!("{base}.{name}"), &TEXT)
}
