//! How much a workspace may hold.

/// Bounds on what steps may put into a workspace, so that none takes all the memory of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkspaceLimits {
    /// How large a file may be, in bytes. Default: 128 MiB.
    pub file: usize,
    /// How many bytes the files that steps have written may have together. What was only read from elsewhere does not count.
    /// Default: 512 MiB.
    pub written: usize,
    /// How many files and directories one step may look at at once, as in copying with a filter or in handing a directory to a program.
    /// Default: 200,000.
    pub entries: usize,
    /// How many files and directories the workspace may know of in all, where each copy counts though it takes no room: a directory that
    /// is copied into itself is twice as large each time. Default: 1,000,000.
    pub known: usize,
}

impl Default for WorkspaceLimits {
    fn default() -> Self {
        Self { file: 128 << 20, written: 512 << 20, entries: 200_000, known: 1_000_000 }
    }
}

impl WorkspaceLimits {
    /// Sets how large a file may be, in bytes.
    #[must_use]
    pub fn file(mut self, bytes: usize) -> Self {
        self.file = bytes;
        self
    }

    /// Sets how many bytes all files that steps have written may have together.
    #[must_use]
    pub fn written(mut self, bytes: usize) -> Self {
        self.written = bytes;
        self
    }

    /// Sets how many files and directories one step may look at at once.
    #[must_use]
    pub fn entries(mut self, entries: usize) -> Self {
        self.entries = entries;
        self
    }

    /// Sets how many files and directories the workspace may know of in all.
    #[must_use]
    pub fn known(mut self, entries: usize) -> Self {
        self.known = entries;
        self
    }
}
