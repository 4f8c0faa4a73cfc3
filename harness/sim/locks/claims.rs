//! Claims: tokens that a handle holds for as long as it is open, or until it ends its claim on one.

use super::{Holder, LockError};
use rangemap::{RangeMap, RangeSet};
use std::ops::Range;

/// How many tokens there are.
const TOKENS: u64 = 1 << 61;
/// In how many pieces the claims of one handle may be: the real host's limit, as the next.
const PIECES_MAX: usize = 16;
/// How many tokens one handle may claim.
const CLAIMED_MAX: u64 = 1 << 32;

/// All claims on one database.
#[derive(Clone, Debug, Default)]
pub struct Claims(RangeMap<u64, Holder>);

impl Claims {
    /// Claims the `count` tokens from `first` on until `holder` is dropped.
    pub fn claim(&mut self, holder: Holder, first: u64, count: u64) -> Result<(), LockError> {
        let tokens = range(first, count)?;
        let mut claims = self.0.clone();
        claims.insert(tokens.clone(), holder);
        let claimed: u64 = pieces(&claims, holder)
            .map(|piece| piece.end - piece.start)
            .sum();
        if pieces(&claims, holder).count() > PIECES_MAX || claimed > CLAIMED_MAX {
            return Err(LockError::Full);
        }
        if (self.0.overlapping(&tokens)).any(|(_, claimed_by)| *claimed_by != holder) {
            return Err(LockError::Busy);
        }
        self.0 = claims;
        Ok(())
    }

    /// Ends the claim of `holder` on `token`. False: it has none. Those who watch it are to be woken.
    #[must_use = "wake those who watch this token"]
    pub fn end(&mut self, holder: Holder, token: u64) -> Result<bool, LockError> {
        let tokens = range(token, 1)?;
        if self.0.get(&token) != Some(&holder) {
            return Ok(false);
        }
        let mut claims = self.0.clone();
        claims.remove(tokens);
        if pieces(&claims, holder).count() > PIECES_MAX {
            return Err(LockError::Full);
        }
        self.0 = claims;
        Ok(true)
    }

    /// Whether somebody else has claimed `token`.
    pub fn is_claimed_by_other(&self, holder: Holder, token: u64) -> Result<bool, LockError> {
        range(token, 1)?;
        Ok((self.0.get(&token)).is_some_and(|claimed_by| *claimed_by != holder))
    }

    /// Ends all claims of `holder`; which. Those who watch them are to be woken.
    #[must_use = "wake those who watch these tokens"]
    pub fn drop_holder(&mut self, holder: Holder) -> RangeSet<u64> {
        let ended: RangeSet<u64> = pieces(&self.0, holder).collect();
        for tokens in ended.iter() {
            self.0.remove(tokens.clone());
        }
        ended
    }
}

fn range(first: u64, count: u64) -> Result<Range<u64>, LockError> {
    let end = first.checked_add(count).filter(|end| *end <= TOKENS);
    let end = end.filter(|_| count > 0);
    Ok(first..end.ok_or(LockError::InvalidArgument)?)
}

fn pieces(claims: &RangeMap<u64, Holder>, holder: Holder) -> impl Iterator<Item = Range<u64>> {
    let his = claims
        .iter()
        .filter(move |(_, claimed_by)| **claimed_by == holder);
    his.map(|(tokens, _)| tokens.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_seen_by_others_until_its_holder_is_gone() {
        let mut claims = Claims::default();
        let (mine, other) = (Holder(1), Holder(2));
        for token in [0, 7, TOKENS - 1] {
            assert_eq!(claims.is_claimed_by_other(other, token), Ok(false));
            claims.claim(mine, token, 1).unwrap();
            claims.claim(mine, token, 1).unwrap();
            assert_eq!(claims.is_claimed_by_other(other, token), Ok(true));
            assert_eq!(claims.is_claimed_by_other(mine, token), Ok(false));
            assert_eq!(claims.claim(other, token, 1), Err(LockError::Busy));
        }
        claims.claim(other, 8, 1).unwrap();
        let ended = claims.drop_holder(mine);
        assert_eq!(
            ended,
            [0..1, 7..8, TOKENS - 1..TOKENS].into_iter().collect()
        );
        assert_eq!(claims.is_claimed_by_other(other, 7), Ok(false));
        assert_eq!(claims.is_claimed_by_other(mine, 8), Ok(true));
        claims.claim(other, 7, 1).unwrap();
    }

    #[test]
    fn a_claim_on_one_token_ends_alone() {
        let mut claims = Claims::default();
        let (mine, other) = (Holder(1), Holder(2));
        claims.claim(mine, 5, 10).unwrap();
        assert_eq!(claims.end(other, 7), Ok(false));
        assert_eq!(claims.end(mine, 4), Ok(false));
        assert_eq!(claims.end(mine, 7), Ok(true));
        assert_eq!(claims.end(mine, 7), Ok(false));
        for (token, claimed) in [
            (4, false),
            (5, true),
            (6, true),
            (7, false),
            (8, true),
            (14, true),
        ] {
            assert_eq!(
                claims.is_claimed_by_other(other, token),
                Ok(claimed),
                "{token}"
            );
        }
        assert_eq!(claims.claim(other, 6, 2), Err(LockError::Busy));
        claims.claim(other, 7, 1).unwrap();
        assert_eq!(claims.claim(mine, 7, 1), Err(LockError::Busy));
    }

    #[test]
    fn tokens_and_pieces_are_limited() {
        let mut claims = Claims::default();
        let mine = Holder(1);
        let refused = Err(LockError::InvalidArgument);
        for token in [TOKENS, u64::MAX] {
            assert_eq!(claims.claim(mine, token, 1), refused);
            assert_eq!(claims.end(mine, token).map(drop), refused);
            assert_eq!(claims.is_claimed_by_other(mine, token).map(drop), refused);
        }
        assert_eq!(claims.claim(mine, 0, TOKENS + 1), refused);
        assert_eq!(claims.claim(mine, 1, u64::MAX), refused);
        assert_eq!(claims.claim(mine, 1, 0), refused);
        let most = 2 * PIECES_MAX as u64;
        for token in (0..most).step_by(2) {
            claims.claim(mine, token, 1).unwrap();
        }
        assert_eq!(claims.claim(mine, most, 1), Err(LockError::Full));
        claims.claim(mine, 1, 1).unwrap();
        claims.claim(mine, most, 3).unwrap();
        assert_eq!(claims.end(mine, most + 1), Err(LockError::Full));
        assert_eq!(claims.drop_holder(mine).len(), PIECES_MAX);
        let too_many = CLAIMED_MAX + 1;
        assert_eq!(claims.claim(mine, 0, too_many), Err(LockError::Full));
        claims.claim(mine, 0, CLAIMED_MAX).unwrap();
    }
}
