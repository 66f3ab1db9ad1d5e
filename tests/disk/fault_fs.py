"""A directory that shows another one, through FUSE, and fails as a file of rules says.

    fault_fs.py BACKING MOUNT RULES

A process that writes by io_uring is served by the kernel, so nothing can stand between it and its
system calls; but the kernel itself asks this program. A rule is a line of RULES, which is read anew
for each operation; the operations are `write` and `fsync`:

    write EIO 30      in 30 of 100 cases it fails so
    write short 100   so many bytes are taken
    write delay 2     it takes so many seconds
"""

import errno
import os
import random
import sys
import time

import mfusepy

ATTRIBUTES = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")
TIMES = ("st_mtime", "st_atime", "st_ctime")
SPACE = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_flag",
         "f_frsize", "f_namemax")


class Faulty(mfusepy.Operations):
    use_ns = True

    def __init__(self, backing, rules):
        self.backing = os.path.realpath(backing)
        self.rules = rules

    def at(self, path):
        return self.backing + path

    def apply(self, operation):
        """Fails or waits as the rules say; how many bytes a write may take, where they say so."""
        with open(self.rules, encoding="ascii") as rules:
            lines = [line.split() for line in rules]
        for name, what, number in (line for line in lines if len(line) == 3):
            if name != operation:
                continue
            if what == "short":
                return int(number)
            if what == "delay":
                time.sleep(float(number))
            elif random.random() * 100 < float(number):
                raise mfusepy.FuseOSError(getattr(errno, what))
        return None

    def getattr(self, path, fh=None):
        status = os.lstat(self.at(path))
        shown = {name: getattr(status, name) for name in ATTRIBUTES}
        return shown | {name: getattr(status, name + "_ns") for name in TIMES}

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(self.at(path))]

    def open(self, path, flags):
        return os.open(self.at(path), flags)

    def create(self, path, mode, fi=None):
        return os.open(self.at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data[: self.apply("write")], offset)

    def truncate(self, path, length, fh=None):
        os.truncate(self.at(path), length)

    def fsync(self, path, datasync, fh):
        self.apply("fsync")
        os.fsync(fh)

    def fsyncdir(self, path, datasync, fh):
        return 0

    def flush(self, path, fh):
        return 0

    def release(self, path, fh):
        os.close(fh)

    def unlink(self, path):
        os.unlink(self.at(path))

    def rename(self, old, new):
        os.rename(self.at(old), self.at(new))

    def mkdir(self, path, mode):
        os.mkdir(self.at(path), mode)

    def rmdir(self, path):
        os.rmdir(self.at(path))

    def chmod(self, path, mode):
        os.chmod(self.at(path), mode)

    def statfs(self, path):
        status = os.statvfs(self.at(path))
        return {name: getattr(status, name) for name in SPACE}


if __name__ == "__main__":
    backing, mount, rules = sys.argv[1:]
    mfusepy.FUSE(Faulty(backing, rules), mount, foreground=True, nothreads=True)
