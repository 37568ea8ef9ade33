//! The configuration room: Backstage's own files and our section in them → what each room runs on.
//!
//! 1. [`load`] reads the layers: files (`files.rs`, `yaml.rs`), with what they refer to filled in (`transform.rs`,
//!    [`substitute`]), then `APP_CONFIG_…` variables (`environment.rs`), laid one over the other (`layers.rs`).
//! 2. [`Loaded::resolve`] understands them: `resolve/` names each key that we know exactly once, with its format
//!    (`formats.rs`), default and bounds, and reads it through `reader.rs`.
//! 3. What comes of it is a [`Configuration`]: the rooms' options, which know no YAML; the [`Effective`] configuration,
//!    for people; and warnings. Or else [`Problems`], all of them together.
//!
//! Everything that stands around the process comes in as an [`Environment`], and nothing is touched but the files that
//! are named.

mod duration;
mod effective;
mod environment;
mod files;
mod formats;
mod js;
mod layers;
mod problem;
mod reader;
mod redis_url;
#[cfg(test)]
mod reference;
mod resolve;
mod size;
mod substitute;
#[cfg(test)]
mod testing;
mod transform;
mod unknown;
mod value;
#[cfg(test)]
mod vectors;
mod yaml;

pub use self::duration::{NotADuration, parse_text as parse_duration, show as show_duration};
pub use self::effective::Effective;
pub use self::environment::Environment;
pub use self::layers::{Loaded, Sources, load};
pub use self::problem::{Problem, Problems};
pub use self::resolve::{Configuration, Resolved};
pub use self::size::{parse_text as parse_size, show as show_size};
pub use self::substitute::{Unset, substitute};
pub use self::value::{Node, Origin, Value};

/// Loads and resolves in one go.
///
/// # Errors
/// Every problem that the configuration has, together.
pub fn read(sources: &Sources) -> Result<Configuration, Problems> {
    load(sources)?.resolve()
}
