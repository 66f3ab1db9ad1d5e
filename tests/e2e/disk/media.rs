//! Disks that fail: a small one, one that fails on demand, and one whose power can be cut. Each is
//! taken away again with the value that stands for it, also when the test fails.

use crate::support::{PATIENCE, Scratch, eventually};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn output(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("`{program}` does not run: {error}"))
}

fn run(program: &str, arguments: &[&str]) {
    let output = output(program, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

fn is_mounted(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}

/// A directory in which something may be mounted; it is unmounted before it is removed.
struct Mount {
    path: PathBuf,
    scratch: Scratch,
}

impl Mount {
    fn new() -> Self {
        let scratch = Scratch::new();
        let path = scratch.path().join("mount");
        std::fs::create_dir(&path).unwrap();
        Self { path, scratch }
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if is_mounted(&self.path) {
            output("umount", &["-l", self.text()]);
        }
    }
}

/// Memory as a disk of a few mebibytes.
pub struct Small(Mount);

impl Small {
    pub fn new(size: &str) -> Self {
        let mount = Mount::new();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "caio-test", mount.text()]);
        Self(mount)
    }

    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Takes all the room that is left, and gives it back with the file's removal.
    pub fn fill(&self) -> PathBuf {
        let path = self.0.path.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        let page = [1; 4096];
        while file.write_all(&page).is_ok() {}
        path
    }
}

/// A directory behind FUSE that fails as it is told.
pub struct Faulty {
    mount: Mount,
    server: Child,
}

impl Faulty {
    pub fn new() -> Self {
        let mount = Mount::new();
        std::fs::create_dir(mount.scratch.path().join("backing")).unwrap();
        mount.scratch.write("rules", "");
        // Where the binding of libfuse is installed apart from the system's python.
        let python = std::env::var("CAIO_FUSE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut server = Command::new(python)
            .arg(root("tests/disk/fault_fs.py"))
            .args(["backing", "mount", "rules"].map(|name| mount.scratch.path().join(name)))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the file system is mounted", || {
            assert!(server.try_wait().unwrap().is_none(), "fault_fs.py ended");
            is_mounted(&mount.path)
        });
        Self { mount, server }
    }

    pub fn path(&self) -> &Path {
        &self.mount.path
    }

    /// From now on, and until the next word.
    pub fn fail(&self, rules: &str) {
        // Whole at once: it is read at any moment.
        let next = self.mount.scratch.write("next", rules);
        std::fs::rename(next, self.mount.scratch.path().join("rules")).unwrap();
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        output("umount", &["-l", self.mount.text()]);
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// An ext4 file system in a file.
pub struct Powered(Mount);

impl Powered {
    pub fn new() -> Self {
        let mount = Mount::new();
        let disk = Self(mount);
        let file = std::fs::File::create(disk.image()).unwrap();
        file.set_len(256 << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", disk.image().to_str().unwrap()]);
        disk.mount();
        disk
    }

    fn image(&self) -> PathBuf {
        self.0.scratch.path().join("image")
    }

    fn mount(&self) {
        run("mount", &["-o", "loop", self.image().to_str().unwrap(), self.0.text()]);
    }

    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What can cut it off in a moment.
    pub fn cutter(&self) -> Cutter {
        let mut child = Command::new("python3")
            .arg(root("tests/disk/power_cut.py"))
            .arg(&self.0.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        Cutter(child)
    }

    /// The power is back. Nobody may hold a file of before.
    pub fn back(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !output("umount", &[self.0.text()]).status.success() {
            assert!(Instant::now() < deadline, "it cannot be unmounted");
        }
        let checked = output("e2fsck", &["-p", self.image().to_str().unwrap()]);
        // 1: errors were corrected, which a journal that was replayed may be.
        assert!(matches!(checked.status.code(), Some(0 | 1)), "{checked:?}");
        self.mount();
    }
}

/// Holds the directory's root open, and cuts it off when it is told to.
pub struct Cutter(Child);

impl Cutter {
    /// Cuts the power; when that began. A machine without power answers nobody, so what is said
    /// after that moment does not count: the kernel, which lives on, may take a transaction that it
    /// gave up for one that it finished, and say that a sync has worked.
    pub fn cut(mut self) -> Instant {
        let began = Instant::now();
        self.0.stdin.take().unwrap().write_all(b"now\n").unwrap();
        assert!(self.0.wait().unwrap().success());
        began
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
