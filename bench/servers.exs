defmodule Bench.Servers do
  # The servers, as a client VM is told of them: a map of `kind`, `port`, `cacertfile`, `username`
  # and `password`.

  alias Bench.{TLS, Workload}
  alias Palladion.Test.Testkit

  @root Path.expand("..", __DIR__)
  @username "bench"
  @password "of the bench"
  @nodes 300

  @doc "The testkit's server, in a process of its own that ends with this VM."
  def start("testkit") do
    server = Testkit.start_server(tls: ["1.3"], user: @username, password: @password)
    %{kind: "testkit", port: server.port, cacertfile: server.cacertfile} |> with_login()
  end

  # The same as a cluster of many nodes in two data centers.
  def start("nodes") do
    server =
      Testkit.start_cluster!(
        nodes: @nodes,
        tokens: 16,
        datacenter: ["dc1", "dc2"],
        rack: ["r1", "r2", "r3"],
        tls: ["1.3"],
        user: @username,
        password: @password
      )

    %{kind: "nodes", port: server.port, cacertfile: server.cacertfile, nodes: @nodes}
    |> with_login()
  end

  # One with TLS 1.2 and 1.3, another without TLS, and nobody has to log in.
  def start("handshakes") do
    :ok = TLS.build!()
    %{kind: "handshakes", tls: without_login(true), plain: without_login(false)}
  end

  # A Cassandra. `bin/bench` names it by the environment, and removes it.
  def start("cassandra") do
    {output, 0} = System.cmd(Path.join(@root, "bin/cassandra"), ["start", "tls"])
    fields = Regex.scan(~r/(\w+)=(\S+)/, output, capture: :all_but_first)
    fields = Map.new(fields, &List.to_tuple/1)

    server = %{
      kind: "cassandra",
      port: String.to_integer(fields["port"]),
      cacertfile: fields["ca"]
    }

    prepare(server, fields["user"], fields["password"])
    with_login(server)
  end

  # And as what its counters are asked for.
  defp without_login(tls) do
    server = Testkit.start_server(tls: tls)

    {server,
     %{
       kind: "handshakes",
       port: server.port,
       cacertfile: server.cacertfile,
       certfile: server.server_certfile,
       keyfile: server.server_keyfile
     }}
  end

  defp with_login(server), do: Map.merge(server, %{username: @username, password: @password})

  # By the superuser, whose permissions are not looked up as those of others are.
  defp prepare(server, username, password) do
    {:ok, _} = Application.ensure_all_started(:palladion)
    Logger.configure(level: :warning)

    {:ok, _} =
      Palladion.start_link(
        name: __MODULE__,
        contact_points: [{"localhost", server.port}],
        tls: [cacertfile: server.cacertfile],
        auth: [username: username, password: password],
        sync_connect: 20_000,
        timeout: 30_000
      )

    columns =
      Enum.map_join(Workload.page_columns(), ", ", fn {name, type} -> "#{name} #{type}" end)

    for statement <- [
          "CREATE KEYSPACE bench " <>
            "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
          "CREATE TABLE bench.users (id bigint PRIMARY KEY, name text)",
          "CREATE TABLE bench.pages (page int, #{columns}, PRIMARY KEY (page, seq))",
          "CREATE ROLE #{@username} WITH LOGIN = true AND PASSWORD = '#{@password}'",
          "GRANT SELECT ON KEYSPACE bench TO #{@username}",
          "GRANT MODIFY ON KEYSPACE bench TO #{@username}"
        ],
        do: Palladion.query!(__MODULE__, statement)

    fill()
    :ok = Palladion.stop(__MODULE__)
    :ok = Application.stop(:palladion)
  end

  defp fill do
    write(
      "INSERT INTO bench.users (id, name) VALUES (?, ?)",
      for(key <- 0..(Workload.keys() - 1), do: [key, Workload.text()])
    )

    names = Keyword.keys(Workload.page_columns())
    markers = Enum.map_join(names, ", ", fn _ -> "?" end)

    write(
      "INSERT INTO bench.pages (page, #{Enum.join(names, ", ")}) VALUES (0, #{markers})",
      for(i <- 0..(Workload.page_rows() - 1), do: row(i))
    )
  end

  defp write(statement, rows) do
    prepared = Palladion.prepare!(__MODULE__, statement)

    rows
    |> Task.async_stream(&Palladion.execute!(__MODULE__, prepared, &1), max_concurrency: 64)
    |> Stream.run()
  end

  # As the testkit's.
  defp row(i) do
    [
      "#{i |> Integer.to_string(16) |> String.pad_leading(8, "0")}-4040-4040-4040-404040404040",
      i,
      "user #{i}",
      "user#{i}@example.org",
      i / 8,
      i * 1_000_003,
      rem(i, 2) == 0,
      DateTime.from_unix!(1_700_000_000_000 + i, :millisecond),
      if(rem(i, 10) != 9, do: "a note of some length about row #{i}")
    ]
  end
end
