//! Bigger pieces of honest work: what installs, builds, logs in and comes by the clock.
//!
//! Owns no judgement: each gives a command line that ends well where quell leaves it alone. What this machine has no
//! program for is said loudly and left out.

use super::attack::{Place, words};
use super::tools::{tool, write};
use std::path::PathBuf;

fn run(place: &Place, name: &str, text: &str) -> Vec<String> {
    words(&[&tool("bash"), write(&place.dir, name, text).to_str().unwrap()])
}

/// A build of a crate, with a build script that runs, and of its test, which runs too.
pub(super) fn cargo_build(place: &Place) -> Vec<String> {
    write(&place.dir, "crate/Cargo.toml", "[package]\nname = \"honest\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    write(&place.dir, "crate/build.rs", "fn main() { println!(\"cargo:rustc-env=WORD=honest\"); }\n");
    let text =
        "pub fn word() -> &'static str { env!(\"WORD\") }\n#[test]\nfn it_is() { assert_eq!(word(), \"honest\"); }\n";
    write(&place.dir, "crate/src/lib.rs", text);
    let (cargo, rustc) = (env!("CARGO"), PathBuf::from(env!("CARGO")).with_file_name("rustc"));
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .unwrap_or_default();
    let text = format!(
        "set -e\ncd crate\nexport CARGO_HOME={home} RUSTC={} CARGO_TARGET_DIR=target\nunset RUSTC_WRAPPER\n{cargo} --offline build\n{cargo} --offline test --lib\n",
        rustc.display()
    );
    run(place, "a.sh", &text)
}

/// A package is built, installed into a root of its own with a script that runs, listed and removed.
pub(super) fn package_install(place: &Place) -> Vec<String> {
    write(
        &place.dir,
        "honest/DEBIAN/control",
        "Package: honest\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: none\n",
    );
    write(&place.dir, "honest/usr/share/honest/data", "data\n");
    let text = "set -e\nchmod -R go-w honest\ndpkg-deb --root-owner-group -b honest honest.deb\n\
        mkdir -p root/var/lib/dpkg/updates root/var/lib/dpkg/info root/var/lib/dpkg/triggers\n: > root/var/lib/dpkg/status\n\
        dpkg --root=$PWD/root --force-not-root -i honest.deb\ndpkg --root=$PWD/root -l honest | grep ^ii\n\
        test -s root/usr/share/honest/data\ndpkg --root=$PWD/root -r honest\n";
    run(place, "a.sh", text)
}

/// A wheel, which is a zip file, is installed for one directory and used.
pub(super) fn wheel_install(place: &Place) -> Vec<String> {
    let text = "import zipfile\n\
        meta = 'Metadata-Version: 2.1\\nName: honest\\nVersion: 1.0\\n'\n\
        kind = 'Wheel-Version: 1.0\\nGenerator: a\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'\n\
        with zipfile.ZipFile('honest-1.0-py3-none-any.whl', 'w') as z:\n\
        \x20   z.writestr('honest.py', 'word = \"honest\"\\n')\n\
        \x20   z.writestr('honest-1.0.dist-info/METADATA', meta)\n\
        \x20   z.writestr('honest-1.0.dist-info/WHEEL', kind)\n\
        \x20   z.writestr('honest-1.0.dist-info/RECORD', 'honest.py,,\\nhonest-1.0.dist-info/METADATA,,\\nhonest-1.0.dist-info/WHEEL,,\\nhonest-1.0.dist-info/RECORD,,\\n')\n";
    write(&place.dir, "wheel.py", text);
    let text = "set -e\npython3 wheel.py\n\
        if python3 -m pip --version; then python3 -m pip install -q --no-index --no-deps --target site ./honest-1.0-py3-none-any.whl\n\
        else mkdir site; (cd site && python3 -m zipfile -e ../honest-1.0-py3-none-any.whl .); fi\n\
        PYTHONPATH=site python3 -c 'import honest; assert honest.word == \"honest\"'\n";
    run(place, "a.sh", text)
}

/// What `scripts/setup test` keeps, unpacked and not installed; none where it could not be fetched.
fn kept(program: &str) -> Option<String> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    let places = [PathBuf::from("/usr/sbin").join(program), cache.join("quell/tools/usr/sbin").join(program)];
    let found = places.into_iter().find(|path| path.exists()).and_then(|path| path.to_str().map(str::to_owned));
    if found.is_none() {
        eprintln!("NOT TESTED: honest work of `{program}`, which is not here");
    }
    found
}

/// A login over ssh with a key, on loopback: a command, a copy, a session with a terminal.
pub(super) fn ssh(place: &Place) -> Vec<String> {
    let Some(sshd) = kept("sshd") else { return words(&[&tool("true")]) };
    // Its own user, directory and place may be missing where it was not installed: a mount namespace has them.
    let text = format!(
        "set -e\numask 077\nmkdir -p keys home/.ssh\nssh-keygen -q -t ed25519 -N '' -f keys/host\nssh-keygen -q -t ed25519 -N '' -f home/.ssh/id_ed25519\n\
         cp home/.ssh/id_ed25519.pub keys/authorized\n\
         cat > keys/config <<END\nPort $PORT\nListenAddress 127.0.0.1\nHostKey $PWD/keys/host\nAuthorizedKeysFile $PWD/keys/authorized\nPidFile $PWD/keys/pid\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nEND\n\
         cp /etc/passwd keys/passwd\nchmod 644 keys/passwd\ngetent passwd sshd || echo 'sshd:x:105:65534::/run/sshd:/usr/sbin/nologin' >> keys/passwd\n\
         serve='mount --bind keys/passwd /etc/passwd; mount -t tmpfs -o mode=755 tmpfs /run; mkdir -m 755 /run/sshd; test $0 = /usr/sbin/sshd || mount -t overlay -o lowerdir=${{0%/sshd}}:/usr/sbin overlay /usr/sbin; exec /usr/sbin/sshd -D -e -f \"$1\"'\n\
         unshare -m sh -ec \"$serve\" {sshd} $PWD/keys/config & server=$!\ntrap 'kill $server' EXIT\n\
         until (echo > /dev/tcp/127.0.0.1/$PORT) 2>/dev/null; do kill -0 $server; sleep 0.05; done\n\
         go() {{ ssh -F none -i home/.ssh/id_ed25519 -o UserKnownHostsFile=keys/known -o StrictHostKeyChecking=accept-new -p $PORT \"$@\"; }}\n\
         go 127.0.0.1 'id; uname -a' | grep -q uid\n\
         tar cf - keys/config | go 127.0.0.1 'cat > /dev/null'\n\
         echo 'echo hello; exit' | go -tt 127.0.0.1 | grep -q hello\n"
    );
    run(place, "a.sh", &text)
}
