//! Who attacks: this program again, in the cgroup of the benchmark, so that an attack is one fork and one exec and nothing
//! else (entering a cgroup takes 6 ms).

use crate::stage::Cgroup;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set for the attacker: `CGROUP VICTIM COUNT PAUSE_US AT_ONCE`.
const ASKED: &str = "QUELL_BENCH_ATTACKER";

/// Whether this process is the attacker.
pub(crate) fn is_asked() -> bool {
    std::env::var_os(ASKED).is_some()
}

/// `count` attacks, so many `at_once`; gives how many were ended by SIGKILL.
pub(crate) fn start(cgroup: &Cgroup, victim: &Path, count: usize, pause: Duration, at_once: usize) -> usize {
    let order = format!("{} {} {count} {} {at_once}", cgroup.path().display(), victim.display(), pause.as_micros(),);
    let output = Command::new(std::env::current_exe().unwrap()).env(ASKED, order).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Does it, and says on stdout how many were stopped.
pub(crate) fn run() {
    let order = std::env::var(ASKED).unwrap();
    let words: Vec<&str> = order.split(' ').collect();
    let [cgroup, victim, count, pause, at_once] = words[..] else { panic!("an order has five words: {order}") };
    std::fs::write(Path::new(cgroup).join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let (count, at_once): (usize, usize) = (count.parse().unwrap(), at_once.parse().unwrap());
    let pause = Duration::from_micros(pause.parse().unwrap());
    let mut stopped = 0;
    for _ in 0..count / at_once {
        let mut victims: Vec<Child> = (0..at_once).map(|_| strike(victim)).collect();
        for victim in &mut victims {
            // Whoever is not stopped ends by itself, with another status.
            stopped += usize::from(victim.wait().unwrap().signal() == Some(9));
        }
        std::thread::sleep(pause);
    }
    println!("{stopped}");
}

fn strike(victim: &str) -> Child {
    Command::new(victim)
        .arg("20")
        .env_remove(ASKED)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
