//! What each format means something by.

pub(crate) const TOML: &[&[u8]] = &[
    b"[",
    b"[[",
    b"]]",
    b"{",
    b"}",
    b"=",
    b"\"\"\"",
    b"'''",
    b"true",
    b"inf",
    b"-inf",
    b"nan",
    b"0x",
    b"1_000",
    b"1979-05-27",
    b"[set]",
    b"[train]",
    b"[sharing]",
    b"[weighting]",
    b"[optimizer]",
    b"[evaluation]",
    b"[head]",
    b"[optimizer.groups]",
    b"[[columns.labels]]",
    b"[[arm]]",
    b"[tune]",
    b"\"nash\"",
    b"\"lora\"",
    b"\"sparse\"",
    b"\"classification\"",
    b"\"tagging\"",
    b"\"../../x\"",
    b"1e308",
    b"4e18",
    b"-0.0",
];

pub(crate) const JSON: &[&[u8]] = &[
    b"{", b"}", b"[", b"]", b":", b",", b"true", b"false", b"-0.0", b"1e308", b"1e-320", b"0.5", b"{}", b"[]",
    b"\"a\"", b"\\u0041", b"\\\"", b"[[1]]",
];

pub(crate) const TABLE: &[&[u8]] =
    &[b",", b";", b"\t", b"|", b"\r\n", b"\"a\nb\"", b"\"\"\"\"", b"'", b"text,label\n", b" ", b"\x0b", b"\x85"];

pub(crate) const CONLL: &[&[u8]] =
    &[b"\t", b" ", b"# text = ", b"-DOCSTART- -X- O", b"1-2", b"1.1", b"_", b"B-", b"I-", b"O", b"E-", b"S-", b"\n"];

pub(crate) const MAIL: &[&[u8]] = &[
    b"Content-Type: ",
    b"multipart/mixed; boundary=b",
    b"text/html",
    b"charset=utf-7",
    b"base64",
    b"quoted-printable",
    b"message/rfc822",
    b"\n\n",
    b"<",
    b"</",
    b"<!--",
    b"<script>",
    b"&amp;",
    b"&",
    b"=?utf-8?Q?=",
    b"?=",
    b"=3D",
    b"=\n",
];

/// Numbers at their ends, as Thrift and Parquet write them, and its own marks.
pub(crate) const PARQUET: &[&[u8]] = &[
    b"PAR1",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x10",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\x15\x02",
    b"\x00",
];

pub(crate) const TOKENIZER: &[&[u8]] = &[
    b"\"BPE\"",
    b"\"Unigram\"",
    b"\"WordPiece\"",
    b"\"WordLevel\"",
    b"\"Sequence\"",
    b"\"Replace\"",
    b"\"Prepend\"",
    b"\"Split\"",
    b"\"ByteLevel\"",
    b"\"Metaspace\"",
    b"\"Precompiled\"",
    b"\"TemplateProcessing\"",
    b"\"Regex\"",
    b"\"(a+)+$\"",
    b"\"Fixed\"",
    b"null",
    b"268435456",
    b"\"[CLS]\"",
    b"\"\"",
    b"0.1",
    b"{}",
    b"[]",
    b"true",
    b"false",
    b"\"type\":",
    b"\"vocab\":",
];

pub(crate) const CONFIG: &[&[u8]] = &[
    b"\"bert\"",
    b"\"roberta\"",
    b"\"electra\"",
    b"\"distilbert\"",
    b"\"hidden_size\"",
    b"\"pad_token_id\"",
    b"1e400",
    b"16384",
    b"0.0",
    b"-1.5",
    b"\"gelu\"",
    b"{}",
    b"[]",
    b"null",
    b"true",
];

pub(crate) const SAFETENSORS: &[&[u8]] = &[
    b"\"F32\"",
    b"\"F64\"",
    b"\"BF16\"",
    b"\"I64\"",
    b"\"shape\"",
    b"\"data_offsets\"",
    b"\"__metadata__\"",
    b"[]",
    b"[0,0]",
    b"0,",
    b"4611686018427387904",
    b"\x00\x00\x00\x00\x00\x00\x00\x80",
    b"{}",
    b"\"a.b\"",
];

pub(crate) const LABELS: &[&[u8]] = &[
    b"['", b"']", b"', '", b"[0 1]", b"(", b")", b"{", b"}", b"True", b"nan", b"\\x", b"\\u", b"1.0", b"B-", b"I-",
    b"|",
];
