//! Honest work that looks like an attack from some side, done within the daemon's reach: it ends well, and no run starts.

use super::attack::{Place, words};
use super::group::Group;
use super::labour;
use super::listener::Listener;
use super::stage::Stage;
use super::tools::{compile, script, tool, write};
use super::wait_for;
use std::time::{Duration, Instant};

/// As long as a benign day must go well for.
const QUARTER: Duration = Duration::from_secs(900);

/// A piece of work.
struct Work {
    name: &'static str,
    prepare: fn(&Place) -> Vec<String>,
}

#[test]
fn honest_work_starts_no_run() {
    let _calm = super::apart();
    let Some(stage) = Stage::enter() else { return };
    let work = |name, prepare| Work { name, prepare };
    let all = [
        work("terminal", terminal),
        work("inetd", inetd),
        work("cgi", cgi),
        work("installer", installer),
        work("build-agent", build_agent),
        work("forwarding", forwarding),
        work("port-check", port_check),
        work("process-pool", process_pool),
        work("shared-memory", shared_memory),
        work("sealed-memory", sealed_memory),
        work("build", build),
        work("git", git),
        work("git-password", git_password),
        work("package-manager", package_manager),
        work("account-tools", account_tools),
        work("text-about-miners", text_about_miners),
        work("client-on-a-pool-port", client_on_a_pool_port),
        work("cron-job", cron_job),
        work("whole-trees", whole_trees),
        work("cargo-build", labour::cargo_build),
        work("package-install", labour::package_install),
        work("wheel-install", labour::wheel_install),
        work("ssh", labour::ssh),
    ];
    let mut wrong = Vec::new();
    let mut groups = Vec::new();
    // Once; for a quarter of an hour in `make test-long`.
    let end = Instant::now() + if std::env::var_os("QUELL_LONG").is_some() { QUARTER } else { Duration::ZERO };
    for round in 0.. {
        for work in &all {
            let group = stage.inside.below(&format!("honest-{round}-{}", work.name));
            if let Err(why) = done(&stage, &group, work) {
                wrong.push(format!("{}: {why}", work.name));
            }
            groups.push((work.name, group));
        }
        if Instant::now() > end || !wrong.is_empty() {
            eprintln!("{} pieces of honest work were done", groups.len());
            break;
        }
    }
    // What was seen before this is decided once this is: events keep their order within each of the two rings.
    for (name, playbook, prepare) in [
        ("fence-process", "contain-fileless-execution", fence_process as fn(&Place) -> Vec<String>),
        ("fence-file", "contain-credential-theft", fence_file),
    ] {
        let group = stage.inside.below(name);
        drop(done(&stage, &group, &Work { name, prepare }));
        if wait_for(|| stage.has_proved(&group, playbook).then_some(())).is_none() {
            wrong.push(format!("{name}: the daemon does not see what comes after the honest work"));
        }
        group.end();
    }
    for (name, group) in &groups {
        for run in stage.runs(group) {
            wrong.push(format!("{name} started a run: {run}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n\nThe daemon said last:\n{}", wrong.join("\n\n"), stage.log());
}

/// Does it to its end.
fn done(stage: &Stage, group: &Group, work: &Work) -> Result<(), String> {
    let (dir, shm) = stage.dirs(group);
    let listener = Listener::new(&[]);
    let place = Place { dir: dir.clone(), shm, port: listener.port(), program: stage.program.clone() };
    drop(listener);
    let argv = (work.prepare)(&place);
    let home = dir.join("home").to_str().unwrap().to_owned();
    let mut child = group.spawn(&argv, &dir, &[("PORT", place.port.to_string()), ("HOME", home)]);
    // A build may take longer than what anything else waits for.
    let status = (0..4).find_map(|_| wait_for(|| child.try_wait().unwrap()));
    group.end();
    drop(child.wait());
    let said = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("it ended with {status}\n{}", said())),
        None => Err(format!("it does not end\n{}", said())),
    }
}

fn run(place: &Place, by: &str, name: &str, text: &str) -> Vec<String> {
    words(&[&tool(by), write(&place.dir, name, text).to_str().unwrap()])
}

/// An interactive shell in a terminal, whose holder has no connection.
fn terminal(_: &Place) -> Vec<String> {
    words(&[&tool("script"), "-qec", "/bin/bash -i -c 'test -t 0' && echo exit 0 | /bin/bash", "/dev/null"])
}

/// A server that hands its connection as standard streams to what is no shell, and to a shell that runs a script.
fn inetd(place: &Place) -> Vec<String> {
    write(&place.dir, "service.sh", "read -r line\nuname -a\necho \"$line\"\n");
    run(
        place,
        "python3",
        "a.py",
        "import os, socket, subprocess\n\
         listener = socket.create_server((\"127.0.0.1\", int(os.environ[\"PORT\"])))\n\
         for argv in ([\"cat\"], [\"sh\", \"service.sh\"], [\"perl\", \"-e\", \"print scalar <STDIN>\"]):\n\
         \x20   client = socket.create_connection(listener.getsockname())\n\
         \x20   served, _ = listener.accept()\n\
         \x20   service = subprocess.Popen(argv, stdin=served, stdout=served, stderr=served)\n\
         \x20   served.close()\n\
         \x20   client.sendall(b\"hello\\n\")\n\
         \x20   client.shutdown(socket.SHUT_WR)\n\
         \x20   heard = b\"\".join(iter(lambda: client.recv(4096), b\"\"))\n\
         \x20   assert b\"hello\" in heard, heard\n\
         \x20   assert service.wait() == 0\n",
    )
}

/// A web server with a script behind it, over pipes both ways.
fn cgi(place: &Place) -> Vec<String> {
    script(
        &place.dir,
        "cgi-bin/hello.sh",
        "#!/bin/sh\necho Content-Type: text/plain\necho\nid\nsh -c 'date; uname'\necho hello\n",
    );
    run(
        place,
        "python3",
        "a.py",
        "import http.server, os, threading, urllib.request\n\
         class Handler(http.server.CGIHTTPRequestHandler):\n\
         \x20   have_fork = False\n\
         server = http.server.ThreadingHTTPServer((\"127.0.0.1\", int(os.environ[\"PORT\"])), Handler)\n\
         threading.Thread(target=server.serve_forever, daemon=True).start()\n\
         for Handler.have_fork in False, True:\n\
         \x20   text = urllib.request.urlopen(\"http://127.0.0.1:%s/cgi-bin/hello.sh\" % os.environ[\"PORT\"]).read()\n\
         \x20   assert b\"hello\" in text, text\n",
    )
}

/// `curl … | sh`, with Python for curl.
fn installer(place: &Place) -> Vec<String> {
    write(&place.dir, "install.sh", "echo installing\nuname -m > installed\nsleep 0.3\n");
    write(
        &place.dir,
        "fetch.py",
        "import os, sys, time, urllib.request\n\
         sys.stdout.buffer.write(urllib.request.urlopen(\"http://127.0.0.1:%s/install.sh\" % os.environ[\"PORT\"]).read())\n\
         sys.stdout.flush()\n\
         time.sleep(0.2)\n",
    );
    run(
        place,
        "bash",
        "a.sh",
        "set -e\npython3 -m http.server --bind 127.0.0.1 $PORT & server=$!\ntrap 'kill $server' EXIT\n\
         until (echo > /dev/tcp/127.0.0.1/$PORT) 2>/dev/null; do sleep 0.05; done\n\
         python3 fetch.py | sh\npython3 fetch.py | bash -s -- --yes\npython3 fetch.py | sh 2>&1 | tee install.log\ntest -s installed\n",
    )
}

/// An agent with a connection to its server that runs steps over pipes, one of them an installer.
fn build_agent(place: &Place) -> Vec<String> {
    write(&place.dir, "step.sh", "set -e\necho step\ncat step.sh | sh -c 'cat > copy'\necho echo inner | sh\n");
    run(
        place,
        "python3",
        "a.py",
        "import os, socket, subprocess\n\
         listener = socket.create_server((\"127.0.0.1\", int(os.environ[\"PORT\"])))\n\
         server = socket.create_connection(listener.getsockname())\n\
         agent, _ = listener.accept()\n\
         for argv in ([\"bash\", \"-e\", \"step.sh\"], [\"sh\", \"-c\", \"echo one; echo two\"], [\"bash\", \"-eo\", \"pipefail\", \"step.sh\"]):\n\
         \x20   step = subprocess.run(argv, input=b\"\", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)\n\
         \x20   assert step.returncode == 0, step.stdout\n\
         \x20   agent.sendall(step.stdout)\n",
    )
}

/// socat carries a connection on.
fn forwarding(place: &Place) -> Vec<String> {
    let (socat, netcat) = (tool("socat"), tool("nc.openbsd"));
    run(
        place,
        "bash",
        "a.sh",
        &format!(
            "set -e\npython3 -m http.server --bind 127.0.0.1 $PORT & server=$!\n\
             {socat} UNIX-LISTEN:s,fork TCP:127.0.0.1:$PORT & carrier=$!\ntrap 'kill $server $carrier' EXIT\n\
             until test -S s && (echo > /dev/tcp/127.0.0.1/$PORT) 2>/dev/null; do sleep 0.05; done\n\
             printf 'GET / HTTP/1.0\\r\\n\\r\\n' | {socat} - UNIX-CONNECT:s | grep -q '200 OK'\n\
             printf 'GET / HTTP/1.0\\r\\n\\r\\n' | {netcat} -N 127.0.0.1 $PORT | grep -q '200 OK'\n"
        ),
    )
}

/// Waiting for a service, as entry points of containers do, and asking it over bash's own connection.
fn port_check(_: &Place) -> Vec<String> {
    let text = "python3 -m http.server --bind 127.0.0.1 $PORT & server=$!; trap 'kill $server' EXIT\n\
        until (echo > /dev/tcp/127.0.0.1/$PORT) 2>/dev/null; do sleep 0.05; done\n\
        exec 3<>/dev/tcp/127.0.0.1/$PORT; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3\n\
        while read -r line; do echo \"$line\"; done <&3 | grep '200 OK'";
    words(&[&tool("bash"), "-c", text])
}

fn process_pool(place: &Place) -> Vec<String> {
    run(
        place,
        "python3",
        "a.py",
        "import multiprocessing, socket, subprocess\n\
         held = socket.create_server((\"127.0.0.1\", 0))\n\
         peer = socket.create_connection(held.getsockname())\n\
         if __name__ == \"__main__\":\n\
         \x20   with multiprocessing.get_context(\"spawn\").Pool(2) as pool:\n\
         \x20       assert pool.map(abs, [-1, -2]) == [1, 2]\n\
         \x20   assert subprocess.run([\"sort\"], input=b\"b\\na\\n\", stdout=subprocess.PIPE).stdout == b\"a\\nb\\n\"\n",
    )
}

/// Files in /dev/shm that nobody executes: what editors, databases and browsers do.
fn shared_memory(place: &Place) -> Vec<String> {
    let text = format!(
        "set -e\ncd {}\necho text > notes\ncp notes notes~\nsed -i s/text/more/ notes\ncat notes > /dev/null\n\
         python3 -c 'from multiprocessing import shared_memory as s; m = s.SharedMemory(create=True, size=64); m.unlink()'\n\
         bash -c 'cp /bin/true {}/not-run'\n",
        place.shm.display(),
        place.shm.display()
    );
    run(place, "bash", "a.sh", &text)
}

/// A memfd that is written and mapped, not executed: what browsers and compositors do.
fn sealed_memory(place: &Place) -> Vec<String> {
    run(
        place,
        "python3",
        "a.py",
        "import fcntl, mmap, os, subprocess\n\
         fd = os.memfd_create(\"frame\", os.MFD_ALLOW_SEALING)\n\
         os.ftruncate(fd, 4096)\n\
         mmap.mmap(fd, 4096).write(b\"pixels\")\n\
         fcntl.fcntl(fd, 1033, 2)\n\
         subprocess.run([\"wc\", \"-c\", \"/proc/self/fd/%d\" % fd], pass_fds=[fd], check=True)\n",
    )
}

/// A program that is built, run, and removed while it runs.
fn build(place: &Place) -> Vec<String> {
    compile(&place.dir, "built", "int main(void) { return 0; }\n");
    run(
        place,
        "bash",
        "a.sh",
        // It is removed while it runs, so not before it has become what it is.
        "set -e\n./built\ncp $(command -v sleep) test-program\n./test-program 0.2 &\n\
         until [[ $(readlink /proc/$!/exe) == */test-program* || ! -d /proc/$! ]]; do :; done\nrm test-program\nwait $!\n",
    )
}

/// A clone over a remote shell, as over ssh: git's own protocol through pipes to `sh -c`.
fn git(place: &Place) -> Vec<String> {
    script(&place.dir, "remote-shell", "#!/bin/sh\nshift\nexec sh -c \"$*\"\n");
    run(
        place,
        "bash",
        "a.sh",
        "set -e\ngit init -q origin\n\
         git -C origin -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m first\n\
         GIT_SSH=./remote-shell git clone -q ssh://host$PWD/origin copy\ngit -C copy log -1 --format=%s | grep -q first\n",
    )
}

/// git reads its own store of passwords.
fn git_password(place: &Place) -> Vec<String> {
    write(&place.dir, "home/.git-credentials", "https://ann:secret@example.org\n");
    let text =
        "printf 'protocol=https\\nhost=example.org\\n\\n' | git credential-store get | grep -q password=secret\n";
    run(place, "bash", "a.sh", text)
}

fn package_manager(place: &Place) -> Vec<String> {
    let text = "set -e\ndpkg -l > list\ndpkg --verify base-files || true\napt-get -qq --simulate --no-download upgrade > plan 2>&1 || true\n";
    run(place, "bash", "a.sh", text)
}

/// The programs that the file with the password hashes is for.
fn account_tools(place: &Place) -> Vec<String> {
    run(place, "bash", "a.sh", "set -e\npasswd -S root\nchage -l root\nsu root -c true\n")
}

fn text_about_miners(place: &Place) -> Vec<String> {
    write(&place.dir, "notes.txt", "stratum+tcp://pool.example.org:3333\n");
    let text = "set -e\ngrep -r --include=*.txt stratum+tcp:// .\nbash -c 'grep -q stratum+tcp://pool.example.org:3333 notes.txt'\nsed -n /stratum+tcp:/p notes.txt\n";
    run(place, "bash", "a.sh", text)
}

fn client_on_a_pool_port(place: &Place) -> Vec<String> {
    run(
        place,
        "python3",
        "a.py",
        "import socket\n\
         for port in 3333, 4444, 5555, 7777:\n\
         \x20   try: socket.create_connection((\"127.0.0.1\", port), timeout=0.2)\n\
         \x20   except OSError: pass\n",
    )
}

/// Backups, copies and searches of trees with secrets in them, by a script without a terminal.
fn whole_trees(place: &Place) -> Vec<String> {
    write(&place.dir, "home/.aws/credentials", "none\n");
    write(&place.dir, "home/.ssh/id_ed25519", "none\n");
    let text = "set -e\ntar czf backup.tgz home\ncp -a home copy\ngrep -rq none home\nfind home -type f -exec sha256sum {} +\n\
                tar cf /dev/null /etc 2>/dev/null\ntest -s copy/.aws/credentials\n";
    run(place, "bash", "a.sh", text)
}

/// What cron does: a session of its own, `sh -c`, output into a pipe.
fn cron_job(place: &Place) -> Vec<String> {
    let text = "set -e\nsetsid --wait sh -c 'tar cf backup.tar a.sh && gzip -f backup.tar; ls | wc -l' | cat\ntest -s backup.tar.gz\n";
    run(place, "bash", "a.sh", text)
}

fn fence_process(place: &Place) -> Vec<String> {
    words(&[&super::tools::copy("/bin/sleep".as_ref(), &place.shm.join("fence")), "20"])
}

fn fence_file(place: &Place) -> Vec<String> {
    write(&place.dir, "home/.aws/credentials", "none\n");
    run(
        place,
        "python3",
        "a.py",
        "import os, time\nopen(os.environ[\"HOME\"] + \"/.aws/credentials\").read()\ntime.sleep(20)\n",
    )
}
