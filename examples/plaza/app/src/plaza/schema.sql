-- Plaza's tables, version 1. Names of constraints and indexes are PostgreSQL's own.

CREATE TABLE users (
    id bigserial PRIMARY KEY,
    username text NOT NULL UNIQUE CHECK (username ~ '^[a-z][a-z0-9_]{1,29}$'),
    display_name text NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 60),
    bio text NOT NULL DEFAULT '',
    avatar_url text,
    password_hash text NOT NULL,
    profile jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE posts (
    id bigserial PRIMARY KEY,
    author_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    reply_to_id bigint REFERENCES posts ON DELETE CASCADE,
    body text NOT NULL CHECK (char_length(body) <= 2000),
    language text NOT NULL DEFAULT 'und',
    card jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON posts (author_id, id DESC);
CREATE INDEX ON posts (reply_to_id) WHERE reply_to_id IS NOT NULL;
CREATE INDEX ON posts (created_at);

CREATE TABLE images (
    id bigserial PRIMARY KEY,
    post_id bigint NOT NULL REFERENCES posts ON DELETE CASCADE,
    media_key text NOT NULL,
    url text NOT NULL,
    thumbnail_url text,
    sha256 char(64) NOT NULL,
    width integer NOT NULL CHECK (width > 0),
    height integer NOT NULL CHECK (height > 0),
    bytes integer NOT NULL CHECK (bytes > 0),
    alt_text text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON images (post_id);
CREATE INDEX ON images (media_key);
CREATE INDEX ON images (id) WHERE thumbnail_url IS NULL;

CREATE TABLE likes (
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    post_id bigint NOT NULL REFERENCES posts ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, post_id)
);
CREATE INDEX ON likes (post_id);

CREATE TABLE follows (
    follower_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    followed_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (follower_id, followed_id),
    CHECK (follower_id <> followed_id)
);
CREATE INDEX ON follows (followed_id);

CREATE TABLE tags (
    id bigserial PRIMARY KEY,
    name text NOT NULL UNIQUE
);

CREATE TABLE post_tags (
    post_id bigint NOT NULL REFERENCES posts ON DELETE CASCADE,
    tag_id bigint NOT NULL REFERENCES tags ON DELETE CASCADE,
    PRIMARY KEY (post_id, tag_id)
);
CREATE INDEX ON post_tags (tag_id, post_id DESC);

CREATE TABLE notifications (
    id bigserial PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    actor_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    post_id bigint REFERENCES posts ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('reply', 'like', 'follow')),
    read_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON notifications (user_id, id DESC);
