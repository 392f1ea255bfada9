//! What happens to files, and who reads watched ones.

use crate::harness::{WATCHED, has, live, not_tested, own, text};
use quell_model::{Class, OwnedEvent};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn did(e: &OwnedEvent, operation: &str, path: &Path) -> bool {
    e.head.class == Class::FileEvent
        && text(e, "file.operation") == operation
        && Path::new(&text(e, "file.path")) == path
}

#[test]
fn every_operation_is_told_with_its_whole_path() {
    let Some(live) = live() else { return };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (a, b) = (root.join("a \n\u{1b}[0m"), root.join("b"));
    fs::write(&a, "x").unwrap();
    fs::write(&a, "y").unwrap();
    fs::set_permissions(&a, fs::Permissions::from_mode(0o4755)).unwrap();
    std::os::unix::fs::chown(&a, Some(65_534), Some(65_534)).unwrap();
    fs::rename(&a, &b).unwrap();
    fs::hard_link(&b, root.join("c")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("d")).unwrap();
    fs::create_dir(root.join("e")).unwrap();
    fs::remove_dir(root.join("e")).unwrap();
    fs::remove_file(&b).unwrap();
    let seen = live.log.wait("create", |e| did(e, "create", &a));
    assert_eq!(seen.sigma["TargetFilename"], a.to_str().unwrap());
    assert_eq!(own(&seen, "process.pid"), std::process::id());
    live.log.wait("write", |e| did(e, "write", &a));
    let seen = live.log.wait("chmod", |e| did(e, "chmod", &a));
    assert_eq!(own(&seen, "file.mode"), 0o4755);
    live.log.wait("chown", |e| did(e, "chown", &a));
    let seen = live.log.wait("rename", |e| did(e, "rename", &a));
    assert_eq!(text(&seen, "file.target"), b.to_str().unwrap());
    assert_eq!(seen.sigma["TargetFilename"], b.to_str().unwrap());
    let seen = live.log.wait("link", |e| did(e, "link", &b));
    assert_eq!(text(&seen, "file.target"), root.join("c").to_str().unwrap());
    let seen = live.log.wait("symlink", |e| did(e, "symlink", &root.join("d")));
    assert_eq!(text(&seen, "file.target"), "/etc/passwd");
    live.log.wait("mkdir", |e| did(e, "mkdir", &root.join("e")));
    live.log.wait("rmdir", |e| did(e, "rmdir", &root.join("e")));
    live.log.wait("unlink", |e| did(e, "unlink", &b));
}

#[test]
fn relative_names_are_told_whole() {
    let Some(live) = live() else { return };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let script = "mkdir sub; cd sub; : > x; mv x ../y; rm ../y";
    assert!(std::process::Command::new("/bin/sh").args(["-c", script]).current_dir(&root).status().unwrap().success());
    live.log.wait("create", |e| did(e, "create", &root.join("sub/x")));
    let seen = live.log.wait("rename", |e| did(e, "rename", &root.join("sub/x")));
    assert_eq!(text(&seen, "file.target"), root.join("y").to_str().unwrap());
    live.log.wait("unlink", |e| did(e, "unlink", &root.join("y")));
}

#[test]
fn reads_are_told_where_they_are_watched_and_nowhere_else() {
    let Some(live) = live() else { return };
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().canonicalize().unwrap().join(WATCHED).join("deep").join("secret");
    fs::create_dir_all(secret.parent().unwrap()).unwrap();
    fs::write(&secret, "s").unwrap();
    let plain = dir.path().canonicalize().unwrap().join("plain");
    fs::write(&plain, "p").unwrap();
    let shadow = dir.path().canonicalize().unwrap().join("shadow");
    fs::write(&shadow, "not the one").unwrap();
    for path in [&plain, &shadow, &secret] {
        drop(fs::read(path).unwrap());
    }
    let seen = live.log.wait("the watched read", |e| did(e, "read", &secret));
    assert_eq!(own(&seen, "file.watched"), true);
    assert!(live.log.all(|e| did(e, "read", &plain) || did(e, "read", &shadow)).is_empty());
    // A name in the kernel's set at another place is no watched file; the real one is, by whatever way it is reached.
    drop(fs::read("/proc/self/root/etc/shadow").unwrap());
    live.log.wait("the read of /etc/shadow", |e| did(e, "read", Path::new("/etc/shadow")));
}

/// One IORING_OP_OPENAT: parameters, rings and the entry as include/uapi/linux/io_uring.h lays them out.
const OPEN_BY_RING: &str = r"
import ctypes,mmap,struct,sys
c=ctypes.CDLL(None,use_errno=True)
c.syscall.restype=ctypes.c_long
p=bytearray(120)
fd=c.syscall(425,4,(ctypes.c_char*120).from_buffer(p))
if fd<0: sys.exit(77)
entries,=struct.unpack_from('I',p,0)
offsets=struct.unpack_from('7I',p,40)
ring=mmap.mmap(fd,offsets[6]+entries*4,flags=mmap.MAP_SHARED,offset=0)
entry=mmap.mmap(fd,entries*64,flags=mmap.MAP_SHARED,offset=0x10000000)
path=ctypes.create_string_buffer(sys.argv[1].encode())
entry[0:40]=struct.pack('BBHiQQIIQ',18,0,0,-100,0,ctypes.addressof(path),0,0,7)
struct.pack_into('I',ring,offsets[6],0)
struct.pack_into('I',ring,offsets[1],1)
sys.exit(0 if c.syscall(426,fd,1,1,1,None,0)==1 else 1)
";

#[test]
fn what_io_uring_opens_is_told_too() {
    let Some(live) = live() else { return };
    if !has("python3") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().canonicalize().unwrap().join(WATCHED).join("by-ring");
    fs::create_dir(secret.parent().unwrap()).unwrap();
    fs::write(&secret, "s").unwrap();
    let status = std::process::Command::new("python3").args(["-c", OPEN_BY_RING]).arg(&secret).status().unwrap();
    if status.code() == Some(77) {
        not_tested("io_uring is not allowed here");
        return;
    }
    assert!(status.success());
    let seen = live.log.wait("the read by io_uring", |e| did(e, "read", &secret));
    assert!(text(&seen, "process.image").contains("python"));
}
