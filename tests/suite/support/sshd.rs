//! A real OpenSSH server in namespaces of its own: with users that the machine does not have, in a folder that they can't
//! leave, on a port of its own. When the test ends, every process of it does.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use callboard::secret::Secret;
use callboard::storage::{HostKey, HostKeys, SftpCredentials, SftpOptions, UserKey};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::PATIENCE;

/// The user's password.
pub const PASSWORD: &str = "correct horse";

/// Between two looks at whether the server is there yet, which needs the processor more than the looks do.
const PAUSE: Duration = Duration::from_millis(5);

/// A server whose user `reader` sees `docs/` in its root and may do nothing but read, unless told otherwise.
pub struct Sshd {
    pub port: u16,
    folder: TempDir,
    process: Mutex<Option<Child>>,
}

impl Sshd {
    /// One that runs `internal-sftp -R`.
    pub fn start() -> Self {
        Self::with("Subsystem sftp internal-sftp -R\n")
    }

    /// One whose user may write.
    pub fn writable() -> Self {
        let sshd = Self::with("Subsystem sftp internal-sftp\n");
        fs::set_permissions(sshd.docs(), Permissions::from_mode(0o777)).unwrap();
        sshd
    }

    /// One with these lines in its `sshd_config`.
    pub fn with(settings: &str) -> Self {
        // The port may be taken between the look at it and the server's own.
        (0..5).find_map(|_| Self::try_start(settings)).expect("an sshd that starts")
    }

    fn try_start(settings: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let sshd = Self { port, folder, process: Mutex::new(None) };
        fs::create_dir_all(sshd.docs()).unwrap();
        for folder in [sshd.path(""), sshd.path("jail"), sshd.docs()] {
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        }
        sshd.write_users();
        // The first of several values is the one that counts.
        let config = format!(
            "{settings}ListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/host_key\nPidFile none\nStrictModes no\n\
             AuthorizedKeysFile {0}/authorized_keys\nChrootDirectory /mnt\nUsePAM no\nMaxStartups 500\n",
            sshd.folder.path().display()
        );
        fs::write(sshd.path("sshd_config"), config).unwrap();
        sshd.new_host_key("ed25519");
        sshd.make_key("user_key", "ed25519", "");
        sshd.accept("user_key");
        sshd.launch().then_some(sshd)
    }

    /// The user database that the server sees instead of the machine's.
    fn write_users(&self) {
        let crypted = Command::new("openssl").args(["passwd", "-6", PASSWORD]).output().unwrap();
        let crypted = String::from_utf8(crypted.stdout).unwrap();
        let users = [("root", 0), ("sshd", 74), ("reader", 6501)];
        let lines = |line: &dyn Fn(&str, u32) -> String| users.map(|(name, id)| line(name, id)).concat();
        fs::create_dir(self.path("etc")).unwrap();
        fs::write(self.path("etc/passwd"), lines(&|name, id| format!("{name}:x:{id}:{id}::/:/bin/false\n"))).unwrap();
        fs::write(self.path("etc/group"), lines(&|name, id| format!("{name}:x:{id}:\n"))).unwrap();
        let shadow = lines(&|name, _| format!("{name}:{}:19000::::::\n", crypted.trim()));
        fs::write(self.path("etc/shadow"), shadow).unwrap();
        fs::create_dir(self.path("etc/pam.d")).unwrap();
        let pam = "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n";
        fs::write(self.path("etc/pam.d/sshd"), pam).unwrap();
    }

    /// Starts the process and waits until it listens; false where it ends before that.
    fn launch(&self) -> bool {
        let script = "mount --bind \"$1/etc\" /etc && mount --bind \"$1/jail\" /mnt && mount -t tmpfs run /run && \
                      mkdir -m 755 /run/sshd && exec \"$2\" usr/sbin/sshd -D -e -f \"$1/sshd_config\"";
        // A test that is killed takes its server along, and that its sessions.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
        command.args(["sh", "-c", script, "sh"]).arg(self.folder.path()).arg(tools().join("run"));
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        *self.process.lock().unwrap() = Some(child.unwrap());
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.process.lock().unwrap().as_mut().unwrap().try_wait().unwrap().is_some() {
                assert!(self.log().contains("in use"), "run tests/setup.sh first, as root: {}", self.log());
                return false;
            }
            if self.is_listening() {
                return true;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("sshd does not listen: {}", self.log());
    }

    /// What a client needs to read `docs/`, with the user's key.
    pub fn options(&self) -> SftpOptions {
        SftpOptions {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            username: "reader".to_owned(),
            root: "docs".to_owned(),
            host_keys: HostKeys { pinned: vec![HostKey::parse(&self.text("host_key.pub")).unwrap()], file: None },
            credentials: SftpCredentials { key: Some(self.key("user_key", None)), password: None },
            connections: 2,
            channels: 4,
        }
    }

    /// The folder that the user finds as `docs`.
    pub fn docs(&self) -> PathBuf {
        self.path("jail/docs")
    }

    /// Writes a file below [`Sshd::docs`], as old as files of a site usually are.
    pub fn write(&self, key: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.docs().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        super::age(&path);
        path
    }

    /// Makes a key as the operator would.
    pub fn make_key(&self, name: &str, kind: &str, passphrase: &str) {
        let _ = fs::remove_file(self.path(name));
        let mut command = Command::new(tools().join("run"));
        command.args(["usr/bin/ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f"]).arg(self.path(name));
        assert!(command.status().expect("run tests/setup.sh first").success());
    }

    pub fn key(&self, name: &str, passphrase: Option<&str>) -> UserKey {
        let passphrase = passphrase.map(Secret::new);
        UserKey::parse(&Secret::new(self.text(name)), passphrase.as_ref()).unwrap()
    }

    /// The key's text, or that of another of the server's files.
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// From now on this key alone opens the door.
    pub fn accept(&self, name: &str) {
        fs::copy(self.path(&format!("{name}.pub")), self.path("authorized_keys")).unwrap();
        fs::set_permissions(self.path("authorized_keys"), Permissions::from_mode(0o644)).unwrap();
    }

    /// Gives the server another identity from its next start on.
    pub fn new_host_key(&self, kind: &str) {
        self.make_key("host_key", kind, "");
    }

    /// Kills it and its sessions, stopped or not.
    pub fn kill(&self) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            for process in processes_of(child.id()) {
                let _ = kill_process(process, Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, where it was.
    pub fn restart(&self) {
        self.kill();
        // Its processes end a moment after the one that was waited for: whoever came meanwhile would meet them.
        let start = Instant::now();
        while self.is_listening() && start.elapsed() < PATIENCE {
            std::thread::sleep(PAUSE);
        }
        assert!(self.launch(), "it starts again: {}", self.log());
    }

    /// Sends a signal to it and all of its sessions.
    pub fn signal(&self, signal: Signal) {
        let child = self.process.lock().unwrap().as_ref().expect("a running server").id();
        for process in processes_of(child) {
            let _ = kill_process(process, signal);
        }
    }

    /// Connections that are open at its side.
    pub fn connections(&self) -> usize {
        const ESTABLISHED: &str = "01";
        self.sockets().iter().filter(|state| *state == ESTABLISHED).count()
    }

    /// How often somebody has logged in.
    pub fn logins(&self) -> usize {
        self.log().matches("Accepted ").count()
    }

    /// How often somebody was not let in.
    pub fn refusals(&self) -> usize {
        self.log().lines().filter(|line| line.contains("Connection closed by authenticating user")).count()
    }

    /// How many of its processes' open files are this one.
    pub fn holds_open(&self, path: &Path) -> usize {
        let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        let wanted = identity(path);
        let child = self.process.lock().unwrap().as_ref().expect("a running server").id();
        let processes = processes_of(child).into_iter();
        let folders =
            processes.filter_map(|process| fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).ok());
        folders.flatten().filter_map(Result::ok).filter(|file| identity(&file.path()) == wanted).count()
    }

    /// Puts a folder into `docs/` as another client does, with OpenSSH's own, and returns once that is done.
    pub fn publish(&self, folder: &Path, entity: &str) {
        let output = self.try_to_publish(folder, entity);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The same, where it need not work.
    pub fn try_to_publish(&self, folder: &Path, entity: &str) -> Output {
        let mut batch = String::new();
        let mut made = "docs".to_owned();
        for name in entity.split('/') {
            made = format!("{made}/{name}");
            // Where there is one already, that is as well.
            batch.push_str(&format!("-mkdir {made}\n"));
        }
        batch.push_str(&format!("put -pR {}/* {made}/\n", folder.display()));
        fs::write(self.path("batch"), batch).unwrap();
        let mut command = Command::new(tools().join("run"));
        command.args(["usr/bin/sftp", "-q", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no"]);
        command.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes"]);
        command.arg("-i").arg(self.path("user_key")).arg("-b").arg(self.path("batch"));
        command.args(["-P", &self.port.to_string(), "reader@127.0.0.1"]);
        command.output().expect("run tests/setup.sh first")
    }

    /// Puts this at the end of its `sshd_config`, and starts it again.
    pub fn configure(&self, block: &str) {
        let config = self.text("sshd_config") + block + "\n";
        fs::write(self.path("sshd_config"), config).unwrap();
        self.restart();
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap()).into_owned()
    }

    fn is_listening(&self) -> bool {
        const LISTEN: &str = "0A";
        self.sockets().iter().any(|state| state == LISTEN)
    }

    /// The states of the server's sockets.
    fn sockets(&self) -> Vec<String> {
        let own = format!(":{:04X}", self.port);
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let sockets = table.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, state) = (words.next()?, words.nth(1)?);
            local.ends_with(&own).then(|| state.to_owned())
        });
        sockets.collect()
    }

    /// Where a key or another of the server's files is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// All processes in the namespace that `unshare` has made.
fn processes_of(unshare: u32) -> Vec<Pid> {
    let Ok(namespace) = fs::read_link(format!("/proc/{unshare}/ns/pid_for_children")) else { return Vec::new() };
    let folders = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let inside = folders.filter(|folder| fs::read_link(folder.path().join("ns/pid")).is_ok_and(|of| of == namespace));
    inside.filter_map(|folder| Pid::from_raw(folder.file_name().to_str()?.parse().ok()?)).collect()
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/openssh")
}
