//! The kernel side compiles for every architecture that quell is built for.

use std::process::Command;

#[test]
fn the_kernel_side_compiles_for_both_architectures() {
    let named = std::env::var("CLANG").ok();
    let names = named.iter().map(String::as_str).chain(["clang-14", "clang"]);
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    let clang = names.into_iter().find(runs).expect("build.rs found one");
    let dir = tempfile::tempdir().unwrap();
    let sources = ["bpf/quell.bpf.c", "bpf/hand/hand.bpf.c", "bpf/block/block.bpf.c", "bpf/cut/cut.bpf.c"];
    for (arch, source) in ["x86", "arm64"].into_iter().flat_map(|arch| sources.map(|source| (arch, source))) {
        let object = dir.path().join(arch);
        let status = Command::new(clang)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3", "-c", source, "-o"])
            .arg(&object)
            .arg(format!("-D__TARGET_ARCH_{arch}"))
            .status()
            .unwrap();
        assert!(status.success(), "{arch} {source}");
        let elf = std::fs::read(&object).unwrap();
        assert_eq!(u16::from_le_bytes([elf[18], elf[19]]), 247, "{arch}: EM_BPF");
    }
}
