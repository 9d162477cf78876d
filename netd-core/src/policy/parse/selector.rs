//! Label selectors and labels, as Kubernetes reads them. Never selects anything.

use netd_api::{
    names::{LabelKey, LabelValue},
    spec::Labels,
};

use super::{
    report::{Report, Step},
    tree::Node,
};
use crate::policy::model::{Condition, Expression, Selector};

/// Labels: a mapping from keys to values.
pub(super) fn labels(report: &mut Report, node: &Node<'_>) -> Option<Labels> {
    let fields = report.mapping(node)?;
    let mut labels = Labels::new();
    for field in fields.iter() {
        report.within(Step::Key(field.name.to_string()), |report| {
            let key: Option<LabelKey> = report.parsed(&field.name, field.line);
            let value: Option<LabelValue> = report.named(&field.value);
            labels.extend(key.zip(value));
        });
    }
    Some(labels)
}

/// `matchLabels` and `matchExpressions`; all of them must hold.
pub(super) fn selector(report: &mut Report, node: &Node<'_>) -> Option<Selector> {
    let fields = report.fields_explained(node, &["matchLabels", "matchExpressions"], |name| {
        // The commonest slip is a label right here; what begins as the two fields do is a slip of another kind.
        (!name.to_ascii_lowercase().starts_with("match")).then_some(("unknown field", "labels to match stand under matchLabels"))
    })?;
    let labels = report.optional(fields, "matchLabels", labels).unwrap_or_default();
    let expressions = report.optional(fields, "matchExpressions", |report, node| report.list(node, expression)).unwrap_or_default();
    Some(Selector { labels, expressions })
}

#[derive(Clone, Copy, PartialEq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

const OPERATORS: [(&str, Operator); 4] =
    [("In", Operator::In), ("NotIn", Operator::NotIn), ("Exists", Operator::Exists), ("DoesNotExist", Operator::DoesNotExist)];

fn expression(report: &mut Report, node: &Node<'_>) -> Option<Expression> {
    let fields = report.fields(node, &["key", "operator", "values"])?;
    let key = report.required(fields, "key", |report, node| report.named(node));
    let operator = report.required(fields, "operator", |report, node| report.word(node, &OPERATORS));
    let values = report.optional(fields, "values", |report, node| report.list(node, |report, node| report.named(node)));
    let values: Vec<LabelValue> = values.unwrap_or_default();
    let operator = operator?;
    let counts = matches!(operator, Operator::In | Operator::NotIn);
    if counts && fields.get("values").is_none_or(Node::is_empty_list) {
        report.within(Step::Field("values"), |report| report.error(fields.line_of("values"), "is empty; In and NotIn need values"));
    } else if !counts && !fields.get("values").is_none_or(Node::is_empty_list) {
        report.within(Step::Field("values"), |report| {
            report.advise(fields.line_of("values"), "Exists and DoesNotExist have no values", "take them out, or write In or NotIn");
        });
    }
    let condition = match operator {
        Operator::In => Condition::In(values),
        Operator::NotIn => Condition::NotIn(values),
        Operator::Exists => Condition::Exists,
        Operator::DoesNotExist => Condition::DoesNotExist,
    };
    Some(Expression { key: key?, condition })
}
