//! Programs that run without a file, or from shared memory.

use super::attack::{Place, Threat, Variant, words};
use super::tools::{compile, copy, tool, write};

#[test]
fn what_runs_without_a_file_is_stopped_however_it_came() {
    let plain = |name, prepare| Variant { name, prepare, opening: None };
    Threat {
        playbook: "contain-fileless-execution",
        ports: &[],
        variants: vec![
            plain("python-memfd", python_memfd),
            plain("perl-memfd", perl_memfd),
            plain("c-memfd", c_memfd),
            plain("deleted", deleted),
            plain("deleted-c", deleted_c),
            plain("shm-binary", shm_binary),
            plain("shm-script", shm_script),
            plain("memfd-script", memfd_script),
        ],
    }
    .is_stopped();
}

fn run(place: &Place, by: &str, name: &str, text: &str) -> Vec<String> {
    let path = write(&place.dir, name, text);
    words(&[&tool(by), path.to_str().unwrap(), place.program.to_str().unwrap()])
}

fn python_memfd(place: &Place) -> Vec<String> {
    run(
        place,
        "python3",
        "a.py",
        "import os, sys\n\
         fd = os.memfd_create(\"\", os.MFD_CLOEXEC)\n\
         os.write(fd, open(sys.argv[1], \"rb\").read())\n\
         os.execve(fd, [\"[kworker/u4:2]\"], os.environ)\n",
    )
}

/// memfd_create by its number, which differs between machines; the exec by its path in /proc.
fn perl_memfd(place: &Place) -> Vec<String> {
    run(
        place,
        "perl",
        "a.pl",
        "use Config; use IO::Handle;\n\
         my $name = 'cache';\n\
         my $fd = syscall($Config{archname} =~ /aarch64/ ? 279 : 319, $name, 0);\n\
         open(my $in, '<:raw', $ARGV[0]) or die; open(my $out, '>&=', $fd) or die;\n\
         binmode($out); $out->autoflush(1); local $/; print {$out} <$in>;\n\
         exec { \"/proc/self/fd/$fd\" } 'sshd';\n",
    )
}

fn c_memfd(place: &Place) -> Vec<String> {
    let text = "#define _GNU_SOURCE\n#include <fcntl.h>\n#include <sys/mman.h>\n#include <sys/sendfile.h>\n#include <sys/wait.h>\n#include <unistd.h>\n\
        int main(int argc, char **argv, char **env) {\n\
        int in = open(argv[1], O_RDONLY), out = memfd_create(\"x\", MFD_CLOEXEC);\n\
        while (sendfile(out, in, 0, 1 << 20) > 0) { }\n\
        if (fork() == 0) fexecve(out, (char *[]){ \"bash\", 0 }, env);\n\
        return wait(0) < 0;\n}\n";
    let path = compile(&place.dir, "a", text);
    words(&[path.to_str().unwrap(), place.program.to_str().unwrap()])
}

fn deleted(place: &Place) -> Vec<String> {
    run(place, "bash", "a.sh", "cp \"$1\" x\nexec 7< x\nrm x\n/proc/self/fd/7\n")
}

fn deleted_c(place: &Place) -> Vec<String> {
    let text = "#define _GNU_SOURCE\n#include <fcntl.h>\n#include <sys/sendfile.h>\n#include <unistd.h>\n\
        int main(int argc, char **argv, char **env) {\n\
        int in = open(argv[1], O_RDONLY), out = open(\"y\", O_WRONLY | O_CREAT, 0700), again;\n\
        while (sendfile(out, in, 0, 1 << 20) > 0) { }\n\
        again = open(\"y\", O_RDONLY | O_CLOEXEC);\n\
        close(out);\n\
        unlink(\"y\");\n\
        return fexecve(again, (char *[]){ \"systemd\", 0 }, env);\n}\n";
    let path = compile(&place.dir, "a", text);
    words(&[path.to_str().unwrap(), place.program.to_str().unwrap()])
}

fn shm_binary(place: &Place) -> Vec<String> {
    words(&[&copy(&place.program, &place.shm.join("x"))])
}

/// Nothing but a script lies there, and bash's own connection carries it.
fn shm_script(place: &Place) -> Vec<String> {
    let text = "exec 3<>/dev/tcp/127.0.0.1/$PORT\nread -r line <&3\necho goal-42 >&3\n";
    let path = write(&place.shm, "x.sh", text);
    words(&[&tool("bash"), path.to_str().unwrap()])
}

/// A script that lies in memory only, and an interpreter that reads it there.
fn memfd_script(place: &Place) -> Vec<String> {
    run(
        place,
        "python3",
        "a.py",
        "import os\n\
         fd = os.memfd_create(\"\", 0)\n\
         os.write(fd, b\"exec 3<>/dev/tcp/127.0.0.1/$PORT; read -r line <&3; echo goal-42 >&3\\n\")\n\
         os.execv(\"/bin/bash\", [\"bash\", \"/proc/self/fd/%d\" % fd])\n",
    )
}
