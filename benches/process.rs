//! What this process takes.

/// The memory of this process that is resident, in bytes. Linux only.
pub fn resident() -> u64 {
    memory("VmRSS:")
}

/// The most of [`resident`] so far.
pub fn resident_at_most() -> u64 {
    memory("VmHWM:")
}

/// Makes [`resident_at_most`] begin anew, from what is resident now.
pub fn forget_most() {
    std::fs::write("/proc/self/clear_refs", "5").expect("this runs on Linux");
}

fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this runs on Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("Linux says so");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// The processor time that this process has used. Linux only.
pub fn processor_time() -> std::time::Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this runs on Linux");
    // Behind the program's name: user and system time are the 12th and 13th field there, in hundredths of a second.
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    let spent = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("a number"));
    std::time::Duration::from_millis(spent.sum::<u64>() * 10)
}
