//! Claims: tokens that a handle holds for as long as it is open.

use super::{Holder, LockError};
use std::collections::BTreeMap;

/// How many tokens there are.
const TOKENS: u64 = 1 << 61;
/// How often one handle may claim, the same token included: the real host's limit.
const CLAIMS_MAX: u32 = 16;

/// All claims on one database.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    holders: BTreeMap<u64, Holder>,
    calls: BTreeMap<Holder, u32>,
}

impl Claims {
    /// Claims `token` until `holder` is dropped. Nothing changes when it has claimed it already.
    pub fn claim(&mut self, holder: Holder, token: u64) -> Result<(), LockError> {
        let calls = self.calls.get(&holder).copied().unwrap_or(0);
        if calls >= CLAIMS_MAX {
            return Err(LockError::Full);
        }
        if self.is_claimed_by_other(holder, token)? {
            return Err(LockError::Busy);
        }
        self.holders.insert(token, holder);
        self.calls.insert(holder, calls + 1);
        Ok(())
    }

    /// Whether somebody else has claimed `token`.
    pub fn is_claimed_by_other(&self, holder: Holder, token: u64) -> Result<bool, LockError> {
        if token >= TOKENS {
            return Err(LockError::InvalidArgument);
        }
        Ok((self.holders.get(&token)).is_some_and(|claimed_by| *claimed_by != holder))
    }

    /// Ends all claims of `holder`; which. Those who watch them are to be woken.
    #[must_use = "wake those who watch these tokens"]
    pub fn drop_holder(&mut self, holder: Holder) -> Vec<u64> {
        self.calls.remove(&holder);
        let ended: Vec<u64> = (self.holders.iter())
            .filter(|(_, claimed_by)| **claimed_by == holder)
            .map(|(token, _)| *token)
            .collect();
        for token in &ended {
            self.holders.remove(token);
        }
        ended
    }
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
            claims.claim(mine, token).unwrap();
            claims.claim(mine, token).unwrap();
            assert_eq!(claims.is_claimed_by_other(other, token), Ok(true));
            assert_eq!(claims.is_claimed_by_other(mine, token), Ok(false));
            assert_eq!(claims.claim(other, token), Err(LockError::Busy));
        }
        claims.claim(other, 8).unwrap();
        assert_eq!(claims.drop_holder(mine), [0, 7, TOKENS - 1]);
        assert_eq!(claims.is_claimed_by_other(other, 7), Ok(false));
        assert_eq!(claims.is_claimed_by_other(mine, 8), Ok(true));
        claims.claim(other, 7).unwrap();
    }

    #[test]
    fn tokens_and_claims_are_limited() {
        let mut claims = Claims::default();
        let mine = Holder(1);
        for token in [TOKENS, u64::MAX] {
            let refused = Err(LockError::InvalidArgument);
            assert_eq!(claims.claim(mine, token), refused);
            assert_eq!(claims.is_claimed_by_other(mine, token).map(drop), refused);
        }
        for token in 0..u64::from(CLAIMS_MAX) {
            claims.claim(mine, token).unwrap();
        }
        assert_eq!(claims.claim(mine, 0), Err(LockError::Full));
        assert_eq!(claims.drop_holder(mine).len() as u32, CLAIMS_MAX);
        claims.claim(mine, 0).unwrap();
    }
}
