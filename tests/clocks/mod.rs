//! The wall clock is set by two hours, forward and back, and the machine sleeps, while attacks and runs go on.
//!
//! Nobody's clock is touched: it happens in machines of their own, in QEMU, under the older kernels that quell is tested
//! on. This very program is what runs inside ([`inside`]), beside the daemon; the host waits for its end.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

mod inside;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const INSIDE: &str = "QUELL_INSIDE_MACHINE";
const NAME: &str = "clocks::attacks_are_contained_while_the_clock_is_set_and_after_a_suspend";
/// Said inside when all has gone well.
const PASSED: &str = "QUELL-CLOCKS-PASSED";
/// One of them, unless QUELL_LONG is set: each keeps a processor busy for more than a minute.
const KERNELS: [&str; 2] = ["6.12", "6.1"];

#[test]
fn attacks_are_contained_while_the_clock_is_set_and_after_a_suspend() {
    if std::env::var_os(INSIDE).is_some() {
        inside::story();
        println!("{PASSED}");
        return;
    }
    let missing: Vec<_> =
        ["qemu-system-x86_64", "busybox", "cpio", "strip"].into_iter().filter(|name| !is_there(name)).collect();
    if !missing.is_empty() || cfg!(not(target_arch = "x86_64")) {
        eprintln!("NOT TESTED: clock steps and suspend: they take QEMU for x86_64, busybox-static, cpio; {missing:?}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let quell = crate::cli::binary();
    let with = [
        format!("{}={}", stripped(&quell, dir.path(), "quell").display(), quell.display()),
        format!("{}=/bin/tests", stripped(&std::env::current_exe().unwrap(), dir.path(), "tests").display()),
        format!("{}=/bin/sleep", Path::new("/usr/bin/sleep").canonicalize().unwrap().display()),
    ]
    .join(" ");
    let kernels = if std::env::var_os("QUELL_LONG").is_some() { &KERNELS[..] } else { &KERNELS[..1] };
    let machines: Vec<_> = kernels.iter().map(|series| (*series, boot(series, &with, &quell))).collect();
    // All of them end before one fails the test.
    let end = |(series, machine): (&'static str, Child)| (series, machine.wait_with_output().unwrap());
    let ends: Vec<_> = machines.into_iter().map(end).collect();
    let mut failed = String::new();
    for (series, out) in ends {
        let said = format!("{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        if out.status.code() == Some(125) {
            eprintln!("NOT TESTED: clock steps and suspend under {series}: {said}");
            continue;
        }
        if !out.status.success() || !said.contains(PASSED) {
            failed += &format!("{series}: {}\n{said}\n", out.status);
        }
        let told = said.lines().filter(|line| line.contains(" s after the boot") || line.contains("slept"));
        eprintln!("{series}: {}", told.collect::<Vec<_>>().join("; "));
    }
    assert!(failed.is_empty(), "{failed}");
}

/// Starts a machine that runs this test inside.
fn boot(series: &str, with: &str, quell: &Path) -> Child {
    let line = format!("{INSIDE}=1 QUELL_BIN={} exec /bin/tests --exact {NAME} --nocapture", quell.display());
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/in-kernel"))
        .args([series, "/bin/bash", "-c", &line])
        .env("QUELL_KERNEL_WITH", with)
        .env("QUELL_KERNEL_SECONDS", "900")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Without what only a debugger needs: it goes into the machine's memory.
fn stripped(from: &Path, dir: &Path, name: &str) -> PathBuf {
    let to = dir.join(name);
    let done = Command::new("strip").arg("-g").arg("-o").args([&to, from]).status().unwrap();
    assert!(done.success());
    to
}
