//! Compiles the kernel side with clang and hands the stripped object to the crate.
//!
//! Owns the compiler's flags; reads `$CLANG` and `$LLVM_STRIP` first, then the versioned and plain names. The object is
//! built for the architecture of the target, not of the host.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    println!("cargo::rerun-if-env-changed=LLVM_STRIP");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let arch = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => "x86",
        Ok("aarch64") => "arm64",
        other => panic!("the sensor knows the registers of x86_64 and aarch64, not of {other:?}"),
    };
    let clang = tool("CLANG", &["clang-14", "clang", "clang-15", "clang-16", "clang-17", "clang-18", "clang-19"]);
    let Some(clang) = clang else {
        panic!("no clang found; hint: `apt-get install clang-14 llvm-14`, or set $CLANG");
    };
    // Without debug sections an object is a third as large; BTF and CO-RE relocations stay. Optional.
    let strip = tool("LLVM_STRIP", &["llvm-strip-14", "llvm-strip", "llvm-strip-15", "llvm-strip-16"]);
    let objects = [
        ("bpf/quell.bpf.c", "quell.bpf.o"),
        ("bpf/hand/hand.bpf.c", "hand.bpf.o"),
        ("bpf/block/block.bpf.c", "block.bpf.o"),
        ("bpf/cut/cut.bpf.c", "cut.bpf.o"),
    ];
    for (source, object) in objects {
        let object = out.join(object);
        let status = Command::new(&clang)
            .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3"])
            .arg(format!("-D__TARGET_ARCH_{arch}"))
            .args(["-c", source, "-o"])
            .arg(&object)
            .status()
            .unwrap_or_else(|e| panic!("cannot run {clang}: {e}"));
        assert!(status.success(), "{clang} refused {source}");
        if let Some(strip) = &strip {
            strip_debug(strip, &object);
        }
    }
}

fn tool(variable: &str, names: &[&str]) -> Option<String> {
    if let Ok(set) = env::var(variable) {
        return Some(set);
    }
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    names.iter().copied().find(|name| runs(name)).map(str::to_owned)
}

fn strip_debug(strip: &str, object: &Path) {
    let small = object.with_extension("small");
    let done = Command::new(strip).arg("-g").arg(object).arg("-o").arg(&small).status();
    if done.is_ok_and(|status| status.success()) {
        fs::rename(&small, object).expect("both are in OUT_DIR");
    }
}
