//! `set-metadata` and `set-freight-alias`: what they have the journal keep. That it is kept, the tests of the engine show.

use super::*;
use crate::plugin::Record;

#[track_caller]
fn records(uses: &str, config: &Value) -> Vec<Record> {
    block_on(async {
        let promotion = promotion();
        let request = StepRequest::new(&promotion, "step", config, Timestamp::UNIX_EPOCH);
        let outcome = builtin().build().step(uses).unwrap().run(&context(), &request).await.unwrap();
        assert_eq!(outcome, StepOutcome::succeeded());
        request.recorded()
    })
}

#[test]
fn set_metadata_notes_values_of_stages_and_freight() {
    let config = json!({"updates": [
        {"kind": "Stage", "name": "dev", "values": {"approved": true}},
        {"kind": "Freight", "name": "0a", "values": {"tests": {"failed": 0}}},
    ]});
    let values = |json: Value| json.as_object().unwrap().clone();
    let wanted = [
        Record::StageMetadata { stage: "dev".into(), values: values(json!({"approved": true})) },
        Record::FreightMetadata { freight: "0a".into(), values: values(json!({"tests": {"failed": 0}})) },
    ];
    assert_eq!(records("set-metadata", &config), wanted);
    let wrong = json!({"updates": [{"kind": "Stge", "name": "dev", "values": {}}]});
    fails("set-metadata", &[], &wrong, &["updates[0].kind", "did you mean \"Stage\"?"]);
    fails("set-metadata", &[], &json!({"updates": []}), &["`updates` has no entry"]);
}

#[test]
fn set_freight_alias_gives_an_alias() {
    let config = json!({"name": "0a", "alias": "friday"});
    let wanted = Record::FreightAlias { freight: "0a".into(), alias: "friday".to_owned() };
    assert_eq!(records("set-freight-alias", &config), [wanted]);
    fails("set-freight-alias", &[], &json!({"name": "0a"}), &["missing field `alias`"]);
}
