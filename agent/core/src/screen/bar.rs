//! The life of a certificate as a bar: how much is lived, where the renewal begins.

use crate::time::{Time, human};

use super::elapsed;

/// A life and where in it we are.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Its start.
    pub start: Time,
    /// Where renewal begins.
    pub renew_at: Time,
    /// Its end.
    pub end: Time,
    /// Where we are.
    pub now: Time,
}

/// The parts of a bar; together as wide as was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// What is lived.
    pub lived: String,
    /// What is left, with the renewal point as long as it is ahead.
    pub left: String,
}

impl Life {
    /// `width` characters: `█` lived, `░` left, `┃` where the renewal begins.
    pub fn bar(&self, width: usize) -> Bar {
        let lived = self.place(self.now, width);
        let mark = self.place(self.renew_at, width);
        let mut cells = vec!['█'; lived];
        cells.resize(width, '░');
        if let Some(cell) = cells.get_mut(mark.min(width.saturating_sub(1))) {
            *cell = '┃';
        }
        Bar { lived: cells.iter().take(lived).collect(), left: cells.iter().skip(lived).collect() }
    }

    /// The same in words.
    pub fn sentence(&self) -> String {
        let whole = human(elapsed(self.start, self.end));
        if self.now > self.end {
            return format!("ended {} ago, at {}; it lasted {whole}", human(elapsed(self.end, self.now)), self.end);
        }
        let lived = human(elapsed(self.start, self.now));
        let left = human(elapsed(self.now, self.end));
        let renewal = if self.now < self.renew_at {
            format!("renewal in {}", human(elapsed(self.now, self.renew_at)))
        } else {
            format!("renewal due for {}", human(elapsed(self.renew_at, self.now)))
        };
        format!("{lived} of {whole} lived, {left} left, {renewal}")
    }

    /// Which of `width` cells an instant is in; a clock outside the life is at its edge.
    fn place(&self, at: Time, width: usize) -> usize {
        let whole = elapsed(self.start, self.end).as_secs();
        if whole == 0 {
            return width;
        }
        let lived = u128::from(elapsed(self.start, at).as_secs().min(whole));
        // At most `width`, which is a usize.
        usize::try_from(lived * width as u128 / u128::from(whole)).unwrap_or(width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_of_ten_cells() {
        for (name, now, lived, left) in [
            ("before its start", 0, "", "░░░░░░┃░░░"),
            ("just started", 1_000, "", "░░░░░░┃░░░"),
            ("a third", 1_300, "███", "░░░┃░░░"),
            ("renewal due", 1_700, "██████┃", "░░░"),
            ("almost over", 1_999, "██████┃██", "░"),
            ("at its end", 2_000, "██████┃███", ""),
            ("long over", 9_000, "██████┃███", ""),
        ] {
            let life = Life {
                start: Time::from_unix(1_000),
                renew_at: Time::from_unix(1_600),
                end: Time::from_unix(2_000),
                now: Time::from_unix(now),
            };
            let bar = life.bar(10);
            assert_eq!((bar.lived.as_str(), bar.left.as_str()), (lived, left), "{name}");
        }
    }

    #[test]
    fn a_life_of_nothing_is_over() {
        let at = Time::from_unix(5);
        let life = Life { start: at, renew_at: at, end: at, now: at };
        assert_eq!(life.bar(4).lived.chars().count(), 4);
        assert_eq!(life.bar(0).left, "");
    }
}
