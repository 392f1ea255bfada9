//! Captures real processes of each test's own, and looks into the vault.

use super::*;
use crate::testing::{Act, Family, wait_until};
use crate::world::CgroupKind;
use quell_model::store::Vault;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::Command;

fn verb(family: &Family) -> Capture {
    Capture::new(Arc::new(Hands::new(family.world())))
}

async fn piece(act: &Act, output: &Json, name: &str) -> Vec<u8> {
    // As whoever checks the journal against the vault finds them.
    let one = Evidence::of(&output[Evidence::KEY]).find(|one| one.name == name);
    act.vault.get(&one.unwrap_or_else(|| panic!("no {name} in {output}")).sha256).await.unwrap()
}

#[tokio::test]
async fn a_deleted_executable_and_a_deleted_file_are_kept() {
    let family = Family::new();
    let path = family.dir().join("dropper");
    std::fs::copy("/bin/sleep", &path).unwrap();
    let pid = family.spawn("exec 8>$DIR/loot; echo stolen >&8; rm $DIR/loot; echo $$ >$DIR/up; exec $DIR/dropper 300");
    assert_eq!(family.pid("up"), pid);
    // Asleep: while it starts it opens files of its own.
    wait_until("it runs", || family.stat(pid).is_some_and(|stat| stat.name == "dropper" && stat.state == 'S'));
    let sum = Hash::of(&std::fs::read(&path).unwrap()).to_string();
    std::fs::remove_file(&path).unwrap();
    let act = Act::new();
    let capture = verb(&family);
    let input = json!({ "process": family.id(pid) });
    let (_, output, truth) = act.whole(&capture, input.clone()).await;
    assert_eq!(truth, Truth::Holds);
    assert_eq!(output["exe_sha256"], json!(sum));
    assert_eq!(piece(&act, &output, "file/8").await, b"stolen\n");
    let file = output["files"].as_array().unwrap().iter().find(|file| file["fd"] == 8).unwrap().clone();
    assert_eq!((&file["deleted"], &file["sha256"]), (&json!(true), &json!(Hash::of(b"stolen\n").to_string())));
    assert!(piece(&act, &output, "cmdline").await.ends_with(b"300\0"));
    // Twice: the same, and no more in the vault for what did not change.
    let (_, again, _) = act.whole(&capture, input).await;
    assert_eq!((&again["exe_sha256"], &again["files"]), (&output["exe_sha256"], &output["files"]));
}

#[tokio::test]
async fn a_memfd_is_kept_and_a_large_one_is_cut_and_says_so() {
    let family = Family::new();
    let fd = rustix::fs::memfd_create("ghost", rustix::fs::MemfdFlags::empty()).unwrap();
    let mut file = File::from(fd);
    file.write_all(&std::fs::read("/bin/sleep").unwrap()).unwrap();
    let pid = family.start(Command::new(format!("/proc/self/fd/{}", file.as_raw_fd())).arg("300"));
    let id = family.id(pid);
    let image = super::super::target::image(&family.world(), pid).unwrap();
    assert!(image.starts_with("/memfd:ghost"), "{image}");
    let act = Act::new();
    let input = json!({ "process": id, "max_bytes": 1000 });
    let (_, output, truth) = act.whole(&verb(&family), input).await;
    assert_eq!(truth, Truth::Holds);
    let sum = Hash::of(&std::fs::read("/bin/sleep").unwrap()).to_string();
    assert_eq!(output["exe_sha256"], json!(sum), "the sum is of the whole");
    let exe = output["evidence"].as_array().unwrap().iter().find(|one| one["name"] == "exe").unwrap().clone();
    assert_eq!((&exe["bytes"], &exe["truncated"]), (&json!(1000), &json!(true)));
}

#[tokio::test]
async fn secrets_stay_in_the_vault_and_ids_come_out() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let script =
        format!("echo $$ >{}/cgroup.procs; echo $$ >$DIR/up; sleep 300 & echo $! >$DIR/child; wait", dir.display());
    let mut command = Command::new("sh");
    command.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE").env("AWS_SECRET_ACCESS_KEY", "very/secret/indeed");
    family.start(command.arg("-c").arg(script));
    let id = family.id(family.pid("child"));
    let act = Act::new();
    let (plan, output, _) = act.whole(&verb(&family), json!({ "process": id })).await;
    let expected =
        json!([{ "kind": "aws_access_key", "id": "AKIAIOSFODNN7EXAMPLE", "owned": true, "found_in": "environment" }]);
    assert_eq!(output["credentials"], expected);
    for text in [output.to_string(), serde_json::to_string(&plan).unwrap()] {
        assert!(!text.contains("very/secret"), "{text}");
    }
    let environ = piece(&act, &output, "environ").await;
    assert!(String::from_utf8_lossy(&environ).contains("very/secret/indeed"));
}

#[tokio::test]
async fn memory_holds_what_the_process_knows() {
    let family = Family::new();
    let pid = family.spawn(
        "secret=quell-was-here-$((6*7)); echo $$ >$DIR/up; read x <$DIR/never || sleep 300 & wait; echo $secret",
    );
    assert_eq!(family.pid("up"), pid);
    let act = Act::new();
    let input = json!({ "process": family.id(pid), "memory": true });
    let (_, output, _) = act.whole(&verb(&family), input).await;
    let names = output["evidence"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str());
    let mut found = false;
    for name in names.filter(|name| name.starts_with("memory/")) {
        found |= piece(&act, &output, name).await.windows(17).any(|window| window == b"quell-was-here-42");
    }
    assert!(found, "{output}");
}

#[tokio::test]
async fn who_is_gone_is_not_captured() {
    let family = Family::new();
    let id = family.id(family.spawn("exec sleep 300"));
    let wrong = ProcessId { start_ns: id.start_ns + 10_000_000, ..id.clone() };
    let capture = verb(&family);
    assert!(matches!(capture.plan(&json!({ "process": wrong })).await, Err(ActionError::GiveUp { .. })));
    let plan = capture.plan(&json!({ "process": id })).await.unwrap();
    assert_eq!(capture.verify(&plan, Want::Acted).await.unwrap(), Truth::CannotAsk, "nothing was kept yet");
    Held::take(&family.world(), &id).unwrap().unwrap().signal(rustix::process::Signal::KILL).unwrap();
    family.reap(id.pid);
    let act = Act::new();
    let go = act.admitted(&capture, plan);
    assert!(matches!(capture.run(&go, &act.context()).await, Err(ActionError::GiveUp { .. })));
}
