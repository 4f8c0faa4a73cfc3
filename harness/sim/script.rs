//! A schedule written down: where it differs from one that is left to itself.
//!
//! What must stay true: what is printed reads back as the same.

use std::fmt;
use std::str::FromStr;

/// A schedule written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// In the order in which they were made.
    pub switches: Vec<Switch>,
    /// In the order in which they were made.
    pub cuts: Vec<Cut>,
}

/// At its stop number `stop`, `actor` makes way for `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Switch {
    /// Whoever went on otherwise.
    pub actor: u32,
    /// Its stops are counted from 0.
    pub stop: u64,
    /// Who goes on instead.
    pub to: u32,
}

/// After its stop number `stop`, `actor` computes for so many instructions, about, and then
/// stops though it calls nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// Who.
    pub actor: u32,
    /// Its stops are counted from 0.
    pub stop: u64,
    /// For how long.
    pub fuel: u32,
    /// For how many microseconds it then doesn't go on, if not for other reasons longer.
    pub away_us: u32,
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}>{}", self.actor, self.stop, self.to)
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}+{}", self.actor, self.stop, self.fuel)?;
        match self.away_us {
            0 => Ok(()),
            away_us => write!(f, "~{away_us}"),
        }
    }
}

/// The parts of `A@B?C`.
fn parts(text: &str, sign: char) -> Option<(u32, u64, u32)> {
    let (actor, rest) = text.split_once('@')?;
    let (stop, last) = rest.split_once(sign)?;
    Some((actor.parse().ok()?, stop.parse().ok()?, last.parse().ok()?))
}

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (actor, stop, to) = parts(text, '>').ok_or(format!("{text:?} is no ACTOR@STOP>TO"))?;
        Ok(Self { actor, stop, to })
    }
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (cut, away_us) = match text.split_once('~') {
            Some((cut, away_us)) => (parts(cut, '+'), away_us.parse().ok()),
            None => (parts(text, '+'), Some(0)),
        };
        let ((actor, stop, fuel), away_us) = cut.zip(away_us).ok_or(format!(
            "{text:?} is no ACTOR@STOP+FUEL or ACTOR@STOP+FUEL~AWAY"
        ))?;
        Ok(Self {
            actor,
            stop,
            fuel,
            away_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let switch = Switch {
            actor: 1,
            stop: 20,
            to: 3,
        };
        assert_eq!(switch.to_string().parse(), Ok(switch));
        for away_us in [0, 4096] {
            let cut = Cut {
                actor: 1,
                stop: 20,
                fuel: 300,
                away_us,
            };
            assert_eq!(cut.to_string().parse(), Ok(cut));
        }
        assert!("1@2+3~".parse::<Cut>().is_err());
        assert!("1@2".parse::<Switch>().is_err() && "1@2>3".parse::<Cut>().is_err());
    }
}
