//! Events as lines of an audit trail.

use std::fmt;

use super::{EventKind, HoldChange, MetadataOf, Rollback};

impl fmt::Display for EventKind {
    /// The event as a line of an audit trail.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PipelineDefined { pipeline } => {
                write!(f, "pipeline {} defined with {} stages", pipeline.name(), pipeline.stages().count())
            }
            Self::FreightFound { freight, alias, against } => {
                write!(f, "freight {freight}")?;
                if let Some(alias) = alias {
                    write!(f, ", called {alias},")?;
                }
                write!(f, " found by warehouse {}", freight.origin())?;
                match against {
                    Some(unmet) => write!(f, "; assembled against criterion {unmet}"),
                    None => Ok(()),
                }
            }
            Self::WarehouseWaiting { warehouse, reason: Some(reason) } => {
                write!(f, "warehouse {warehouse} makes no freight yet: {reason}")
            }
            Self::WarehouseWaiting { warehouse, reason: None } => write!(f, "warehouse {warehouse} waits no longer"),
            Self::FreightOffered { warehouse, freight } => {
                write!(f, "warehouse {warehouse} finds freight {} newest again", freight.short())
            }
            Self::Collected { freight, promotions } => {
                write!(f, "{} pieces of freight and {} promotions let go", freight.len(), promotions.len())
            }
            Self::AliasSet { freight, alias: Some(alias) } => write!(f, "freight {} called {alias}", freight.short()),
            Self::AliasSet { freight, alias: None } => write!(f, "alias of freight {} taken away", freight.short()),
            Self::MetadataSet { of, values } => {
                let keys = values.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                match of {
                    MetadataOf::Stage(stage) => write!(f, "metadata {keys} of stage {stage} set"),
                    MetadataOf::Freight(freight) => write!(f, "metadata {keys} of freight {} set", freight.short()),
                }
            }
            Self::DiscoveryFailed { warehouse, reason } => write!(f, "warehouse {warehouse} cannot look: {reason}"),
            Self::DiscoveryRecovered { warehouse } => write!(f, "warehouse {warehouse} looks again"),
            Self::FreightApproved { freight, stage } => write!(f, "freight {} approved for {stage}", freight.short()),
            Self::FreightPassed { freight, stage } => write!(f, "freight {} passed through {stage}", freight.short()),
            Self::PromotionRequested { promotion, stage, freight, hold, rollback, reason, .. } => {
                write!(f, "promotion {promotion} of freight {} to {stage} requested", freight.short())?;
                if let Some(Rollback { from }) = rollback {
                    write!(f, ", back from {}", from.short())?;
                }
                f.write_str(&after_colon(reason))?;
                match hold {
                    HoldChange::None => Ok(()),
                    HoldChange::Hold => f.write_str("; it holds automatic promotions"),
                    HoldChange::Resume => f.write_str("; it lets automatic promotions go on"),
                }
            }
            Self::PromotionStarted { promotion } => write!(f, "promotion {promotion} started"),
            Self::AbortRequested { promotion, reason } => {
                write!(f, "abort of promotion {promotion} requested{}", after_colon(reason))
            }
            Self::AutoPromotionHeld { stage, origin, reason } => {
                write!(f, "automatic promotions of {origin} to {stage} held{}", after_colon(reason))
            }
            Self::AutoPromotionReleased { stage, origin } => {
                write!(f, "automatic promotions of {origin} to {stage} released")
            }
            Self::VerificationRequested { promotion, .. } => {
                write!(f, "another verification of promotion {promotion} requested")
            }
            Self::VerificationJudged { promotion, phase, reason } => {
                write!(f, "verification of promotion {promotion} judged {phase}{}", after_colon(reason))
            }
            Self::PromotionFinished { promotion, phase, message } => {
                write!(f, "promotion {promotion} {phase}{}", after_colon(message))
            }
            Self::VerificationStarted { promotion } => write!(f, "verification of promotion {promotion} started"),
            Self::VerificationFinished { promotion, phase, message } => {
                write!(f, "verification of promotion {promotion} {phase}{}", after_colon(message))
            }
            Self::HealthChanged { stage, health, reason, .. } => {
                write!(f, "stage {stage} is {health}{}", after_colon(reason))
            }
            Self::TaskStarted { task } => write!(f, "{task} started"),
            Self::TaskWaiting { task, reason, .. } => write!(f, "{task} waits{}", after_colon(reason)),
            Self::TaskErrored { task, reason, retry_at, .. } => {
                write!(f, "{task} had an error and is tried again at {retry_at}{}", after_colon(reason))
            }
            Self::StepAnswered { task, verdict, grounds, message } => {
                let grounds: Vec<String> = grounds.iter().map(ToString::to_string).collect();
                write!(f, "{task} {verdict} as {}{}", grounds.join(", "), after_colon(message))
            }
            Self::TaskFinished { task, phase, message, .. } => write!(f, "{task} {phase}{}", after_colon(message)),
        }
    }
}

fn after_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
