//! OpenSSH's server.

use super::{Form, Place, Policy};

/// Who reads, where nobody is named.
const USER: &str = "callboard";

/// What is read, where nothing is named.
const ROOT: &str = "/srv/techdocs";

pub(super) fn policy(place: &Place, form: Form) -> Option<Policy> {
    if form != Form::Cli {
        return None;
    }
    let user = place.user.as_deref().unwrap_or(USER);
    // What the user sees before there is a chroot need not be where the server has it.
    let root = if place.bucket.starts_with('/') { &place.bucket } else { ROOT };
    // `%` stands for tokens in paths, `*` and `?` and `,` for patterns and lists in names.
    let root = root.replace('%', "%%");
    let text = format!(
        "Match User \"{user}\"\n    \
             ChrootDirectory \"{root}\"\n    \
             ForceCommand internal-sftp -R\n    \
             DisableForwarding yes\n    \
             PermitTTY no\n    \
             PermitUserRC no\n    \
             PasswordAuthentication no"
    );
    let notes = vec![
        "Put it at the end of sshd_config: a Match block ends where the next one begins.".to_owned(),
        "The folder must be the one that holds the sites, as the server's own root sees it. It and everything above it must \
         belong to root and be writable by nobody else. Afterwards techdocs.publisher.sftp.root is /."
            .to_owned(),
        "Callboard logs in with an ed25519 or ecdsa key; leave PasswordAuthentication out where it has a password."
            .to_owned(),
    ];
    Some(Policy { text, notes })
}
