//! Git over ssh on loopback: the machine's own `sshd` behind a proxy that counts, and can be far away.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::git_server::{Counted, Traffic};

/// A server of all repositories on this machine to the user who runs this. It ends with the value.
#[derive(Debug)]
pub struct SshServer {
    folder: PathBuf,
    user: String,
    port: u16,
    traffic: Arc<Traffic>,
    sshd: Child,
}

impl SshServer {
    /// Starts it, with its keys in `folder`. Nothing when there is no `sshd` here.
    ///
    /// # Panics
    /// When it is there and does not start.
    pub fn start(folder: &Path) -> Option<Self> {
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| Path::new(path).exists())?;
        for key in ["host", "user"] {
            let path = folder.join(key);
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
            assert!(made.is_ok_and(|status| status.success()), "ssh-keygen makes a key");
        }
        // As root it wants an empty folder to lock itself into.
        let _ = std::fs::create_dir_all("/run/sshd");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let behind = free.local_addr().expect("an address").port();
        drop(free);
        let folder = folder.to_owned();
        let place = folder.display();
        // By the last one a shell of this user reads no startup files, which may take longer than all the rest.
        let config = format!(
            "ListenAddress 127.0.0.1:{behind}\nPidFile none\nHostKey {place}/host\nAuthorizedKeysFile {place}/user.pub\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\n\
             SetEnv SHLVL=1\n"
        );
        std::fs::write(folder.join("sshd_config"), config).expect("the disk has room");
        let mut sshd = Command::new(program);
        sshd.args(["-D", "-q", "-f"]).arg(folder.join("sshd_config")).stderr(Stdio::null());
        let sshd = sshd.spawn().expect("it is there");
        let user = Command::new("id").arg("-un").output().expect("a user").stdout;
        let user = String::from_utf8_lossy(&user).trim().to_owned();
        let traffic = Arc::new(Traffic::default());
        let port = proxy(behind, Arc::clone(&traffic));
        let server = Self { folder, user, port, traffic, sshd };
        let begun = Instant::now();
        while !greets(behind) {
            assert!(begun.elapsed() < Duration::from_secs(20), "sshd did not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }

    /// The URL of the repository at `path`.
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, path.display())
    }

    /// The key to sign in with.
    pub fn key(&self) -> String {
        std::fs::read_to_string(self.folder.join("user")).expect("it was made")
    }

    /// The server's key, as a line of known hosts.
    pub fn known_hosts(&self) -> String {
        let key = std::fs::read_to_string(self.folder.join("host.pub")).expect("it was made");
        format!("[127.0.0.1]:{} {key}", self.port)
    }

    /// The command by which stock git signs in with all of this.
    pub fn command(&self) -> String {
        let known = self.folder.join("known_hosts");
        std::fs::write(&known, self.known_hosts()).expect("the disk has room");
        let key = self.folder.join("user");
        format!("ssh -F none -i {} -o UserKnownHostsFile={}", key.display(), known.display())
    }

    /// Lets what goes either way from now on take half of this time on its way.
    pub fn delay(&self, round_trip: Duration) {
        self.traffic.delay(round_trip);
    }
}

impl Counted for SshServer {
    fn traffic(&self) -> (u64, u64) {
        self.traffic.take()
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("SSH-")
}

/// Listens on a port of its own for the server at `port`. A connection counts as a request, and what the server sends is counted.
fn proxy(port: u16, traffic: Arc<Traffic>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let traffic = Arc::clone(&traffic);
            std::thread::spawn(move || {
                traffic.wait();
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
                traffic.count(1, 0);
                for stream in [&client, &server] {
                    let _ = stream.set_nodelay(true);
                }
                let Ok((from, to)) = client.try_clone().and_then(|from| Ok((from, server.try_clone()?))) else {
                    return;
                };
                let there = Arc::clone(&traffic);
                std::thread::spawn(move || carry(from, to, &there, false));
                carry(server, client, &traffic, true);
            });
        }
    });
    address.port()
}

/// Carries what comes from one end to the other, each part for as long as half of a round trip takes, however many are on their way.
fn carry(mut from: TcpStream, mut to: TcpStream, traffic: &Traffic, counts: bool) {
    let (parts, arriving) = mpsc::channel::<(Instant, Vec<u8>)>();
    let writer = std::thread::spawn(move || {
        for (due, part) in arriving {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&part).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if counts {
            traffic.count(0, count as u64);
        }
        if parts.send((Instant::now() + traffic.round_trip() / 2, buffer[..count].to_vec())).is_err() {
            break;
        }
    }
    drop(parts);
    let _ = writer.join();
}
