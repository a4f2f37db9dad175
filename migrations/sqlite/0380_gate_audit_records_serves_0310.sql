-- Nothing: types in which Postgres receives batches of audit rows.
SELECT 1;
