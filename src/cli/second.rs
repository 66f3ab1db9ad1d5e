//! A second solver, which is not ours: a command that reads SMT-LIB 2 and says a verdict a script.

use crate::prover::Settled;
use crate::prover::problem::Problem;
use crate::prover::smt::script;
use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// Questions, with our verdicts.
#[derive(Default)]
pub struct Heard(RefCell<Vec<(String, Settled)>>);

/// What a second solver made of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Questions of which both say the same.
    pub agreed: usize,
    /// Those of which one of the two does not know.
    pub open: usize,
    /// Those of which they say otherwise, with both verdicts.
    pub disagreed: Vec<String>,
}

impl Heard {
    /// Keeps a question and what we say of it.
    pub fn hear(&self, problem: &Problem, settled: &Settled) {
        self.0.borrow_mut().push((script(problem), settled.clone()));
    }

    /// Asks a command the same.
    ///
    /// # Errors
    /// It cannot be started, or does not answer each script with a line.
    pub fn ask(&self, command: &str) -> io::Result<Compared> {
        let mut words = command.split_whitespace();
        let program = words.next().unwrap_or_default();
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::other(format!("`{program}` cannot be started: {error}")))?;
        let compared = self.talk(&mut child);
        if compared.is_err() {
            // It may wait for more that never comes.
            let _ = child.kill();
        }
        let _ = child.wait();
        compared
    }

    /// Writes beside reading, because a pipe holds only so much.
    fn talk(&self, child: &mut Child) -> io::Result<Compared> {
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(mut input), Some(output)) = (input, output) else {
            return Err(io::Error::other("it has no pipes"));
        };
        let heard = self.0.borrow();
        let scripts: Vec<&str> = heard.iter().map(|(script, _)| script.as_str()).collect();
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                for script in scripts {
                    input.write_all(script.as_bytes())?;
                    input.write_all(b"(reset)\n")?;
                }
                input.write_all(b"(exit)\n")
            });
            let mut lines = BufReader::new(output).lines();
            let mut compared = Compared::default();
            for (script, settled) in heard.iter() {
                let line = lines.next().transpose()?.ok_or_else(|| {
                    io::Error::other("it ended before it had answered every question")
                })?;
                match (line.trim(), settled) {
                    ("sat", Settled::Possible(_)) | ("unsat", Settled::Impossible) => {
                        compared.agreed += 1;
                    }
                    ("unknown", _) | ("sat" | "unsat", Settled::Unknown) => compared.open += 1,
                    ("sat" | "unsat", ours) => {
                        let ours = if *ours == Settled::Impossible { "unsat" } else { "sat" };
                        compared
                            .disagreed
                            .push(format!("it says `{line}` and we say `{ours}` of:\n{script}"));
                    }
                    (other, _) => {
                        return Err(io::Error::other(format!(
                            "it answers `{other}` to:\n{script}"
                        )));
                    }
                }
            }
            match writing.join() {
                Ok(written) => written?,
                Err(_) => return Err(io::Error::other("writing to it failed")),
            }
            Ok(compared)
        })
    }
}
