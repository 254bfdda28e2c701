//! Capture with real iptables, in a network of the test's own.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use crate::network::{ADDRESS, NAME_SERVER, enter, ip, run};

const AGENT: &str = env!("CARGO_BIN_EXE_lateen-agent");

fn capture(flags: &[&str]) -> String {
    run(AGENT, &[&["capture"], flags].concat())
}

/// The rules that hold, without comments, counters and built-in chains that are empty (FACTS on comparing).
fn rules() -> Vec<String> {
    let saved = run("iptables-save", &[]) + &run("ip6tables-save", &[]);
    let lines = saved.lines().filter(|line| {
        !(line.starts_with(['#', '*']) || *line == "COMMIT" || line.contains(" ACCEPT ["))
    });
    let without_counters = |line: &str| match line.strip_prefix(':') {
        Some(chain) => format!(":{}", chain.split(' ').next().unwrap()),
        None => line.to_owned(),
    };
    lines.map(without_counters).collect()
}

#[test]
fn applying_twice_is_applying_once_and_undo_leaves_what_was_there() {
    enter();
    run("iptables", &["-t", "nat", "-N", "OTHERS"]);
    run(
        "iptables",
        &[
            "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "9", "-j", "OTHERS",
        ],
    );
    let before = rules();
    let printed = capture(&[]);
    assert_eq!(rules(), before, "printing changes nothing");
    assert!(printed.contains(":ISTIO_OUTPUT - [0:0]"), "{printed}");

    capture(&["--apply"]);
    let once = rules();
    capture(&["--apply"]);
    assert_eq!(rules(), once);
    capture(&["--apply", "--redirect-dns=false"]);
    assert!(
        !rules()
            .iter()
            .any(|rule| rule.contains("DNS") || rule.contains("zone")),
        "{:#?}",
        rules()
    );
    capture(&["--apply"]);
    assert_eq!(rules().len(), once.len());
    capture(&["--undo"]);
    assert_eq!(rules(), before);
    capture(&["--undo"]);
    assert_eq!(rules(), before);

    // IPv6 comes when the pod has it.
    ip("addr add fd00::7/64 dev eth0 nodad");
    capture(&["--apply"]);
    let both = rules();
    assert!(
        both.contains(&"-A ISTIO_OUTPUT -s ::6/128 -o lo -j RETURN".to_owned()),
        "{both:#?}"
    );
    assert!(loopback().contains("inet6 ::6/128"), "{}", loopback());
    capture(&["--apply"]);
    assert_eq!(rules(), both);
    // Its rules go even when its address went before them.
    ip("addr del fd00::7/64 dev eth0");
    capture(&["--undo"]);
    assert_eq!(rules(), before);
    assert!(!loopback().contains("::6"), "{}", loopback());
    capture(&["--undo"]);
}

fn loopback() -> String {
    run("ip", &["-6", "addr", "show", "lo"])
}

#[test]
fn what_is_printed_is_for_the_program_of_one_family() {
    enter();
    ip("addr add fd00::7/64 dev eth0 nodad");
    capture(&["--apply"]);
    let applied = rules();
    capture(&["--undo"]);
    let restore = |printed: &str, program: &str| {
        let script = format!("$0 capture {printed} | {program} --noflush");
        run("bash", &["-o", "pipefail", "-c", &script, AGENT]);
    };
    restore("", "iptables-restore");
    assert!(!rules().iter().any(|rule| rule.contains("::")));
    restore("--family 6", "ip6tables-restore");
    assert_eq!(rules(), applied);

    let said = |flags: &[&str]| {
        let done = Command::new(AGENT).arg("capture").args(flags).output();
        String::from_utf8(done.unwrap().stderr).unwrap()
    };
    assert!(said(&[]).contains("--family 6"));
    assert_eq!(said(&["--family", "6"]), "");
    ip("addr del fd00::7/64 dev eth0");
    assert_eq!(said(&[]), "");
}

#[test]
fn where_iptables_is_missing_its_package_is_named() {
    let nothing = tempfile::tempdir().unwrap();
    let done = Command::new(AGENT)
        .args(["capture", "--apply"])
        .env("PATH", nothing.path())
        .output()
        .unwrap();
    let error = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(error.contains("cannot run iptables-save") && error.contains("package iptables"));
}

#[test]
fn undo_needs_no_programs_for_ipv6() {
    enter();
    let before = rules();
    capture(&["--apply"]);
    let programs = tempfile::tempdir().unwrap();
    for program in ["iptables-save", "iptables-restore"] {
        let found = run("sh", &["-c", &format!("command -v {program}")]);
        std::os::unix::fs::symlink(found.trim(), programs.path().join(program)).unwrap();
    }
    let undone = Command::new(AGENT)
        .args(["capture", "--undo"])
        .env("PATH", programs.path())
        .status()
        .unwrap();
    assert!(undone.success());
    assert_eq!(rules(), before);
}

/// Who accepts a connection: a listener on each of Envoy's ports, and the app.
struct Listeners([(&'static str, TcpListener); 3]);

impl Listeners {
    fn new() -> Self {
        let listen = |port: u16| {
            let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        Self([
            ("outbound", listen(15001)),
            ("inbound", listen(15006)),
            ("app", listen(8080)),
        ])
    }

    /// Connects, and says who took it.
    fn taken(&self, connect: impl FnOnce()) -> &'static str {
        connect();
        let mut accepted = self
            .0
            .iter()
            .filter(|(_, listener)| listener.accept().is_ok());
        accepted.next().expect("somebody accepts").0
    }
}

/// Connects from this thread's network, as root, or as Envoy's user.
fn connect(address: &str, as_envoy: bool) -> impl FnOnce() {
    let address = address.to_owned();
    move || {
        if as_envoy {
            let script = format!("exec 3<>/dev/tcp/{}", address.replace(':', "/"));
            let done = Command::new("bash")
                .args(["-c", &script])
                .uid(1337)
                .gid(1337)
                .status()
                .unwrap();
            assert!(done.success(), "{address}");
        } else {
            let address = address.parse().unwrap();
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            let _ = stream.read(&mut [0; 1]);
        }
    }
}

#[test]
fn connections_go_through_envoy_and_its_own_do_not() {
    enter();
    capture(&["--apply", "-o", "9999", "-x", &format!("{ADDRESS}/32")]);
    let listeners = Listeners::new();
    // The app calls somebody else, itself, and localhost.
    assert_eq!(
        listeners.taken(connect("198.18.0.99:80", false)),
        "outbound"
    );
    assert_eq!(
        listeners.taken(connect(&format!("{ADDRESS}:8080"), false)),
        "app"
    );
    assert_eq!(listeners.taken(connect("127.0.0.1:8080", false)), "app");
    // Envoy calls a service that is this pod; and the app on localhost.
    assert_eq!(
        listeners.taken(connect(&format!("{ADDRESS}:8080"), true)),
        "inbound"
    );
    assert_eq!(listeners.taken(connect("127.0.0.1:8080", true)), "app");
    // From outside: another network at the other end of the cable.
    let thread = nix::unistd::gettid().to_string();
    std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let mine = nix::unistd::gettid().to_string();
        let enter = format!("--net=/proc/{thread}/ns/net");
        run(
            "nsenter",
            &[&enter, "ip", "link", "set", "outside", "netns", &mine],
        );
        ip("addr add 198.18.0.8/24 dev outside");
        ip("link set outside up");
        connect(&format!("{ADDRESS}:8080"), false)();
    })
    .join()
    .unwrap();
    assert_eq!(listeners.taken(|| {}), "inbound");
}

#[test]
fn lookups_go_to_the_agent_and_answers_come_from_the_server_that_was_asked() {
    enter();
    capture(&["--apply"]);
    let agent = UdpSocket::bind("127.0.0.1:15053").unwrap();
    let app = UdpSocket::bind("0.0.0.0:0").unwrap();
    for socket in [&agent, &app] {
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
    }
    // The agent answers as user 1337 does in a pod: its zone of connection tracking is the app's by the port.
    app.connect((NAME_SERVER, 53)).unwrap();
    let mut buffer = [0; 16];
    app.send(b"question").unwrap();
    let (length, from) = agent.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"question");
    drop(agent);
    let script = "import socket,sys\n\
                  s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
                  s.bind(('127.0.0.1',15053))\n\
                  s.sendto(b'answer',(sys.argv[1],int(sys.argv[2])))\n";
    let to = [from.ip().to_string(), from.port().to_string()];
    let sent = Command::new("python3")
        .args(["-c", script])
        .args(&to)
        .uid(1337)
        .gid(1337)
        .status()
        .unwrap();
    assert!(sent.success());
    // A connected socket takes what comes from the server that it asked, and nothing else.
    let length = app.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"answer");

    let listener = TcpListener::bind("127.0.0.1:15053").unwrap();
    TcpStream::connect_timeout(
        &format!("{NAME_SERVER}:53").parse().unwrap(),
        Duration::from_secs(5),
    )
    .unwrap();
    listener.accept().unwrap();
}
