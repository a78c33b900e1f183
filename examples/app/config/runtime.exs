import Config

# Read when the application starts, also in a release: no secret is compiled into it.
config :guestbook, Guestbook.DB,
  contact_points: [System.fetch_env!("CASSANDRA_CONTACT_POINT")],
  # Without a file, the system's roots are trusted.
  tls: [cacertfile: System.get_env("CASSANDRA_CACERTFILE")],
  auth: [
    username: System.fetch_env!("CASSANDRA_USERNAME"),
    password: System.fetch_env!("CASSANDRA_PASSWORD")
  ],
  pool: [size: 2]
