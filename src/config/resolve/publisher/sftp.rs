//! `sftp`: a folder on an SFTP server. Backstage has no such publisher, so the keys are ours.

use crate::config::formats::{SECRET, TEXT, TEXTS};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::config::resolve::storage::count;
use crate::config::unknown::nearest;
use crate::storage::{HostKey, HostKeys, SftpCredentials, SftpOptions, UserKey};

const KEYS: [&str; 10] = [
    "host",
    "port",
    "username",
    "root",
    "bucketRootPath",
    "hostKeys",
    "knownHostsFile",
    "credentials",
    "connections",
    "channels",
];
const CREDENTIALS: [&str; 3] = ["privateKey", "passphrase", "password"];

pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded, section: &str) -> SftpOptions {
    let key = |name: &str| format!("{section}.{name}");
    refuse_unknown(reader, section, &KEYS);
    refuse_unknown(reader, &key("credentials"), &CREDENTIALS);
    let host = reader.required(&key("host"), &TEXT, " where the publisher's type is sftp: write the server's name");
    let host = host.unwrap_or_default();
    let port = u16::try_from(count(reader, &key("port"), 22, 1..=65_535)).unwrap_or(22);
    let username = reader.required(&key("username"), &TEXT, ": write the user to log in as");
    let root = reader.optional(&key("root"), &TEXT).unwrap_or_default();
    if root.starts_with('~') || root.contains(char::is_control) {
        reader.wrong(
            &key("root"),
            format!("{root:?} is no path: write one from /, or from the user's own folder without ~"),
        );
    }
    SftpOptions {
        username: username.unwrap_or_default(),
        root,
        host_keys: read_host_keys(reader, loaded, section, (&host, port)),
        credentials: read_credentials(reader, section),
        connections: count(reader, &key("connections"), 2, 1..=16),
        channels: count(reader, &key("channels"), 4, 1..=64),
        host,
        port,
    }
}

fn read_host_keys(reader: &mut Reader<'_>, loaded: &Loaded, section: &str, (host, port): (&str, u16)) -> HostKeys {
    let (pinned_key, file_key) = (format!("{section}.hostKeys"), format!("{section}.knownHostsFile"));
    let mut pinned = Vec::new();
    let lines = reader.or(&pinned_key, &TEXTS, Vec::new());
    let has_any = !lines.is_empty() || reader.has(&file_key);
    for line in lines {
        match HostKey::parse(&line) {
            Ok(key) => pinned.push(key),
            Err(problem) => reader.wrong(&pinned_key, format!("{line:?} {problem}")),
        }
    }
    let file = reader.optional(&file_key, &TEXT).map(|file| loaded.directory.join(file));
    let keys = HostKeys { pinned, file };
    let scan = format!("ssh-keyscan -t ed25519 -p {port} {host}");
    if !has_any {
        let message = format!(
            "says nothing by which the server is known: write to hostKeys what {scan} prints, once you have made sure that \
             it is right, or to knownHostsFile where a file with it is"
        );
        reader.wrong(section, message);
    }
    if keys.file.is_some() {
        match keys.of(host, port) {
            Err(error) => reader.wrong(&file_key, format!("can't be read: {error}")),
            Ok(known) if known.is_empty() => {
                reader.wrong(&file_key, format!("has no usable key of {host}, port {port}: add what {scan} prints"));
            }
            Ok(_) => {}
        }
    }
    keys
}

fn read_credentials(reader: &mut Reader<'_>, section: &str) -> SftpCredentials {
    let key = |name: &str| format!("{section}.credentials.{name}");
    let text = reader.optional(&key("privateKey"), &SECRET);
    let passphrase = reader.optional(&key("passphrase"), &SECRET);
    let password = reader.optional(&key("password"), &SECRET);
    if !reader.has(&key("privateKey")) && !reader.has(&key("password")) {
        let because = ["privateKey", "password"].into_iter().find_map(|name| reader.unset(&key(name)));
        let because = because.map_or(String::new(), |reason| format!(" ({reason})"));
        reader.wrong(
            &format!("{section}.credentials"),
            format!(
                "has neither a key nor a password{because}: write privateKey, as {{ $file: id_ed25519 }}, or password"
            ),
        );
    }
    let user_key = text.map(|text| UserKey::parse(&text, passphrase.as_ref()));
    if let Some(Err(problem)) = &user_key {
        reader.wrong(&key("privateKey"), problem);
    }
    SftpCredentials { key: user_key.and_then(Result::ok), password }
}

/// The section is ours, so a key that is not known in it is a mistake.
fn refuse_unknown(reader: &mut Reader<'_>, section: &str, known: &[&str]) {
    for name in reader.keys(section) {
        if !known.contains(&name.as_str()) {
            let meant = nearest(&name, known.iter().copied())
                .map_or_else(|| format!("known here are {}", known.join(", ")), |near| format!("did you mean {near}?"));
            reader.wrong(&format!("{section}.{name}"), format!("unknown key: {meant}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{problems, resolved};
    use crate::storage::StoreOptions;

    const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn sftp(text: &str) -> String {
        format!("techdocs: {{publisher: {{type: sftp, sftp: {{{text}}}}}}}")
    }

    #[test]
    fn every_setting_arrives_and_no_secret_is_shown() {
        let configuration = resolved(&sftp(&format!(
            "host: docs.example.com, port: 2222, username: reader, root: /srv/docs, bucketRootPath: /a/, \
             hostKeys: ['{HOST_KEY}'], credentials: {{password: sshhh}}, connections: 3, channels: 5"
        )))
        .unwrap();
        let origin = &configuration.resolved.storage.origins[0];
        let StoreOptions::Sftp(sftp) = &origin.store else { panic!("SFTP") };
        assert_eq!((sftp.host.as_str(), sftp.port, sftp.username.as_str()), ("docs.example.com", 2222, "reader"));
        assert_eq!((sftp.root.as_str(), origin.layout.root_path.as_str()), ("/srv/docs", "a"));
        assert_eq!((sftp.connections, sftp.channels, sftp.host_keys.pinned.len()), (3, 5, 1));
        assert_eq!(sftp.credentials.password.as_ref().map(|secret| secret.expose()), Some(b"sshhh".as_slice()));
        let printed = format!("{configuration:?}{}", configuration.effective.to_yaml(true));
        assert!(!printed.contains("sshhh"), "{printed}");
    }

    #[test]
    fn what_is_missing_is_told_all_together() {
        let told = problems(&sftp("port: 2222"));
        let expected = [
            "techdocs.publisher.sftp.host: required where",
            "techdocs.publisher.sftp.username: required: write the user",
            "techdocs.publisher.sftp (app-config.yaml:1): says nothing by which the server is known: write to hostKeys what \
             ssh-keyscan -t ed25519 -p 2222",
            "techdocs.publisher.sftp.credentials: has neither a key nor a password",
        ];
        for expected in expected {
            assert!(told.iter().any(|told| told.starts_with(expected)), "{expected}: {told:#?}");
        }
        assert_eq!(told.len(), expected.len(), "{told:#?}");
    }

    #[test]
    fn what_can_not_be_right_says_what_to_write() {
        for (text, expected) in [
            (
                "hostKeys: [ssh-rsa AAAA]",
                "hostKeys (app-config.yaml:1): \"ssh-rsa AAAA\" is not of a supported kind: write",
            ),
            ("hostKeys: [nonsense]", "hostKeys (app-config.yaml:1): \"nonsense\" is no public key: write a line as"),
            ("knownHostsFile: nowhere", "knownHostsFile (app-config.yaml:1): can't be read: No such file"),
            ("credentials: {privateKey: AAAA}", "credentials.privateKey (app-config.yaml:1): is no private key: write"),
            ("credentials: {privateKey: '-----BEGIN RSA PRIVATE KEY-----'}", "is a key of an unsupported kind (RSA"),
            ("root: ~/docs", "root (app-config.yaml:1): \"~/docs\" is no path: write one from /"),
            ("usename: x", "sftp.usename (app-config.yaml:1): unknown key: did you mean username?"),
            ("credentials: {key: x}", "credentials.key (app-config.yaml:1): unknown key: "),
        ] {
            let mut all = format!("host: docs, username: reader, {text}");
            for (name, usual) in [("hostKeys", format!("['{HOST_KEY}']")), ("credentials", "{password: x}".to_owned())]
            {
                if !(text.starts_with(name) || name == "hostKeys" && text.starts_with("known")) {
                    all.push_str(&format!(", {name}: {usual}"));
                }
            }
            let told = problems(&sftp(&all));
            assert!(told.iter().any(|told| told.contains(expected)), "{text}: {told:#?}");
        }
    }
}
