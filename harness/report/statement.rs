//! What each check claims, in one sentence, for readers who don't know its name.

use crate::check::CheckSpec;

/// What holds if the check passes.
pub(super) fn statement(spec: &CheckSpec) -> &'static str {
    match spec {
        CheckSpec::Errors { .. } => "Every error is an expected one, or follows from a fault.",
        CheckSpec::Completion => {
            "Every operation was answered in time, and no process ended by itself."
        }
        CheckSpec::Course => {
            "No step waited in vain for the others, or went on before they were there."
        }
        CheckSpec::Counter { .. } => {
            "Each increment counts once: none is lost, none is done twice."
        }
        CheckSpec::Linearizable => "Each key is an atomic register.",
        CheckSpec::CommitOrder => {
            "The order of the commit numbers is legal and respects real time."
        }
        CheckSpec::QueueDelivery { drained: true, .. } => "Each item put is taken exactly once.",
        CheckSpec::QueueDelivery { drained: false, .. } => {
            "Each item put is taken at most once, and nothing else is."
        }
        CheckSpec::QueueOrder { .. } => {
            "No item is taken while one that comes before it is certainly there."
        }
        CheckSpec::QueueBatches { .. } => "Each batch is whole, with no item of another between.",
        CheckSpec::ListEdits { .. } => "Edits and readings of the list come one after the other.",
        CheckSpec::ListAppends { .. } => "Each value appended is there once, for all in one order.",
        CheckSpec::CollectionStates { .. } => {
            "Readers see documents, edges and index entries together or not at all."
        }
        CheckSpec::MutualExclusion => "No lock is held by two at once.",
        CheckSpec::FencingTokens => "Fencing tokens grow from grant to grant.",
        CheckSpec::FifoGrants => "Who is certainly in line first is granted first.",
        CheckSpec::Timeouts => "No wait ends before its time without success, and none late.",
        CheckSpec::LockTtl => {
            "A grant lasts as long as it was given for, counted from the grant, and no longer."
        }
        CheckSpec::LockLiveness { .. } => {
            "A free lock is granted in time to who waits for it, also after its holder died."
        }
        CheckSpec::StaleHolders => "Who lost a lock can't write under it, and is told so.",
        CheckSpec::MandatoryLocks => "A lock binds those who don't take it.",
        CheckSpec::Bank { .. } => "The balances always sum up to the same, for every reader.",
        CheckSpec::WriteSkew { .. } => "No two withdrawals both rely on the same money.",
        CheckSpec::LogDelivery { .. } => {
            "Each value appended is read once, by all in the same order."
        }
        CheckSpec::ChannelDelivery { .. } => {
            "Each value published reaches each subscriber once, for all in the same order."
        }
        CheckSpec::Integrity => "SQLite finds nothing wrong with the file.",
        CheckSpec::Audit => {
            "What was committed is there, and nothing else: in files, log and locks."
        }
    }
}

/// The parameters of a check as `name=value`, for telling apart two of the same name.
pub(super) fn parameters(spec: &CheckSpec) -> Vec<String> {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(spec) else {
        return Vec::new();
    };
    let fields = fields.into_iter().filter(|(name, _)| name != "check");
    fields
        .map(|(name, value)| match value {
            serde_json::Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_tell_two_checks_of_one_name_apart() {
        let spec = CheckSpec::QueueDelivery {
            name: "jobs".into(),
            drained: true,
        };
        assert_eq!(parameters(&spec), ["drained=true", "name=jobs"]);
        assert!(parameters(&CheckSpec::Completion).is_empty());
    }
}
