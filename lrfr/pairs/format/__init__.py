"""The shard format LRS1: records, LMDB files, shards, checked reading."""
