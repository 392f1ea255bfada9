//! Crypto miners: by what their command line says, and by how they hide while they speak to a pool's port.
//!
//! None of them computes anything: a program that ignores its arguments stands in for the miner.

use super::attack::{Place, Threat, Variant, words};
use super::tools::{copy, tool, write};

#[test]
fn a_miner_is_stopped_whatever_it_is_called() {
    let plain = |name, prepare| Variant { name, prepare, opening: None };
    Threat {
        playbook: "contain-crypto-miner",
        ports: &[3333, 4444, 5555, 7777, 14444, 45700, 13333, 33333],
        variants: vec![
            plain("pool-url", pool_url),
            plain("script", script),
            plain("wallet", wallet),
            plain("own-option", own_option),
            plain("well-known-name", well_known_name),
            plain("kernel-thread", kernel_thread),
            plain("hidden", hidden),
            plain("configuration-file", configuration_file),
        ],
    }
    .is_stopped();
}

fn miner(place: &Place, name: &str, arguments: &[&str]) -> Vec<String> {
    let path = copy(&place.program, &place.dir.join(name));
    [&[path.as_str()], arguments].concat().into_iter().map(str::to_owned).collect()
}

fn pool_url(place: &Place) -> Vec<String> {
    miner(place, "updated", &["-o", &format!("stratum+tcp://127.0.0.1:{}", place.port), "-u", "worker", "-p", "x"])
}

fn script(place: &Place) -> Vec<String> {
    let text = "import os, socket\n\
        s = socket.create_connection((\"127.0.0.1\", int(os.environ[\"PORT\"])))\n\
        if s.recv(256): s.sendall(b\"goal-42\\n\")\n";
    let path = write(&place.dir, "a.py", text);
    words(&[&tool("python3"), path.to_str().unwrap(), &format!("--url=stratum+ssl://127.0.0.1:{}", place.port)])
}

/// Neither a pool's scheme nor a telling name.
fn wallet(place: &Place) -> Vec<String> {
    let wallet = format!("4{}.host", "8".repeat(94));
    miner(place, "dbus-helper", &["-o", &format!("127.0.0.1:{}", place.port), "-u", &wallet, "-k"])
}

fn own_option(place: &Place) -> Vec<String> {
    miner(place, "sshd", &["--config=c", "--donate-level=1", "--randomx-1gb-pages"])
}

fn well_known_name(place: &Place) -> Vec<String> {
    miner(place, "xmrig", &[])
}

fn kernel_thread(place: &Place) -> Vec<String> {
    let path = copy(&place.program, &place.dir.join("x"));
    words(&[&tool("bash"), "-c", "exec -a '[kworker/0:1]' \"$0\"", &path])
}

fn hidden(place: &Place) -> Vec<String> {
    miner(place, ".cache/.x/systemd", &[])
}

fn configuration_file(place: &Place) -> Vec<String> {
    miner(place, "job", &["-c", "config.json"])
}
