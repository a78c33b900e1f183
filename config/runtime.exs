import Config

# The cluster of a developer's shell:
#
#     CASSANDRA_CONTACT_POINTS=db1,db2 CASSANDRA_USERNAME=app CASSANDRA_PASSWORD=... iex -S mix
#     iex> Palladion.start_link(otp_app: :palladion, name: Palladion.Dev)
#
# An application's own config/runtime.exs looks the same, with `config :my_app, MyApp.DB`
# and `{Palladion, otp_app: :my_app, name: MyApp.DB}` under its supervisor; there,
# `System.fetch_env!/1` makes sure that nothing is forgotten.
if config_env() == :dev do
  username = System.get_env("CASSANDRA_USERNAME")

  config :palladion, Palladion.Dev,
    contact_points:
      "CASSANDRA_CONTACT_POINTS"
      |> System.get_env("localhost")
      |> String.split(",", trim: true),
    local_datacenter: System.get_env("CASSANDRA_DATACENTER"),
    keyspace: System.get_env("CASSANDRA_KEYSPACE"),
    # Without a file, the system's roots are trusted.
    tls: [cacertfile: System.get_env("CASSANDRA_CACERTFILE")],
    auth: username && [username: username, password: System.get_env("CASSANDRA_PASSWORD")]
end
