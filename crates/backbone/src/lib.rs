//! BERT-style encoders as functions of their weights.
