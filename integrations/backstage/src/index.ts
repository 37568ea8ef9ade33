/**
 * Has techdocs-backend fetch documentation from Callboard.
 *
 * @packageDocumentation
 */

export { techdocsModuleCallboard as default } from './module';
