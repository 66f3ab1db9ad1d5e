//! Processes that hand over: others join with lanes of their own, and those of the one before end
//! one after the other, closed or left. And what else goes on meanwhile.

use super::{Lane, Story, log, numbers};

impl Story {
    /// A lane that runs.
    pub(super) fn running(&mut self) -> u16 {
        let lanes = self.lanes.iter().zip(0u16..).filter(|(lane, _)| !lane.closed);
        let running: Vec<u16> = lanes.map(|(_, number)| number).collect();
        running[usize::from(self.rng.u16(..running.len() as u16))]
    }

    /// Another process joins now and then, and a lane of one before it ends.
    pub(super) fn hand_over(&mut self) {
        if self.rng.u8(..24) == 0 {
            let before = self.lanes.len() as u16;
            let lanes = before + self.rng.u16(1..3);
            self.write(|sequence| log::joined(sequence, before, lanes));
            self.broken.clear();
            // They begin with the newest version there is.
            let at = || Lane { landscape: self.landscape.clone(), ..Lane::default() };
            self.lanes.extend((before..lanes).map(|_| at()));
            self.newest = before;
            self.publish(true);
            (before..lanes).for_each(|lane| self.adopt(lane));
        }
        let before = self.lanes.iter().take(usize::from(self.newest)).zip(0..);
        let leaving = before.filter(|(lane, _)| !lane.closed).map(|(_, number)| number).next();
        match (leaving, self.rng.u8(..12)) {
            (Some(lane), 0) => self.close(lane),
            (Some(lane), 1) => self.leave(lane),
            _ => {}
        }
    }

    /// Ends a lane with whatever it has open.
    pub(super) fn close(&mut self, number: u16) {
        while !self.lanes[usize::from(number)].open.is_empty() {
            self.outcome(number);
        }
        let more = self.rng.u64(..3);
        let lane = &self.lanes[usize::from(number)];
        let (next, ended) = (lane.next, lane.outcomes + lane.lost.1);
        let refused = lane.refused + more;
        self.told.messages += more;
        self.put(log::close(number, next, [next, ended, refused]));
        let lane = &mut self.lanes[usize::from(number)];
        (lane.closed, lane.refused) = (true, refused);
        lane.requirements.clear();
    }

    /// The process of a lane is gone: others say what it left open.
    fn leave(&mut self, number: u16) {
        let lane = &mut self.lanes[usize::from(number)];
        let (open, next) = (lane.all_open(), lane.next);
        lane.open.clear();
        lane.forgotten.clear();
        lane.closed = true;
        lane.requirements.clear();
        let most = if self.rng.bool() { 2 } else { 1000 };
        let open = numbers(&open);
        let mut parts: Vec<&[u64]> = open.chunks(most).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let records = &mut self.log.frames.last_mut().unwrap().records;
        records.extend(parts.iter().map(|open| log::crash(number, next, self.boot, open)));
    }

    /// Says that the oldest segments may go.
    pub(super) fn retire(&mut self) {
        let mut segments: Vec<u64> =
            self.log.segments().into_iter().map(|first| first as u64).collect();
        segments.retain(|first| *first >= self.kept);
        let kept = *self.rng.choice(&segments).unwrap();
        self.write(|sequence| log::retention(sequence, kept));
        self.kept = kept;
    }

    pub(super) fn payload(&mut self, number: u16) {
        let lane = &mut self.lanes[usize::from(number)];
        let fresh: Vec<usize> = (0..lane.open.len()).filter(|at| !lane.open[*at].payload).collect();
        let Some(at) = self.rng.choice(fresh) else { return };
        lane.open[at].payload = true;
        let fields = [&b""[..], b"accept: text/plain\n", b"a: \nx-a: b: c\n"];
        let fields = [0, 1].map(|_| *self.rng.choice(&fields).unwrap());
        let texts = [fields[0], fields[1], b"{\"a\":1}", b"\xff\0"];
        let record = log::payload(number, lane.open[at].sequence, texts);
        self.told.payloads += 1;
        self.put(record);
    }
}
