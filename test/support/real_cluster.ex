defmodule Palladion.Test.RealCluster do
  @moduledoc """
  The three real nodes that tests of a whole cluster share: 127.0.0.1 and 127.0.0.2 in dc1, 127.0.0.3 in dc2, as long as none
  of them has moved. A test leaves them all running.
  """

  import Palladion.Test.Clusters

  alias Palladion.Test.{Cassandra, Policies, Readers}

  @reconnect_max 2_000
  @timeout 5_000

  @reader [auth: [username: "reader", password: "only reads"]]

  @doc "The longest pause between attempts to connect, in ms."
  def reconnect_max, do: @reconnect_max

  @doc "How long requests may take, in ms."
  def timeout, do: @timeout

  @doc "How often tests repeat what they do: `bin/soak cluster` says so, and else it's once."
  def rounds, do: String.to_integer(System.get_env("PALLADION_SOAK_CLUSTER", "1"))

  @doc "Whether `bin/soak cluster` runs them."
  def soak?, do: System.get_env("PALLADION_SOAK_CLUSTER") != nil

  @doc "The nodes as they are now."
  def servers do
    # Roles are kept for a minute, or each request would read them.
    Cassandra.cluster(:tls, name: :lives, env: %{"CASS_AUTH_VALIDITY" => "60s"})
  end

  @doc "For `setup_all`: starts the nodes, and makes what `Readers` read and the role `reader` that may."
  def prepare! do
    name = __MODULE__
    {:ok, _} = Palladion.start_link(options(hd(servers()), name: name))
    :ok = Palladion.await_ready(name, 30_000)
    Readers.create_table!(name)

    for statement <- [
          "CREATE ROLE IF NOT EXISTS reader WITH PASSWORD = 'only reads' AND LOGIN = true",
          "GRANT SELECT ON KEYSPACE lives TO reader"
        ],
        do: Palladion.query!(name, statement)

    Palladion.stop(name)
  end

  @doc "A cluster of the superuser, with these contact points."
  def admin!(servers, more \\ []),
    do: ready!(servers, quick() |> Keyword.merge(timeout: 30_000) |> Keyword.merge(more))

  @doc "A cluster of an ordinary role, with these contact points."
  def reader!(servers, more \\ []), do: ready!(servers, Keyword.merge(quick() ++ @reader, more))

  @doc "The same, of which nobody knows whether it can connect."
  def start_reader!(server, more),
    do: start_cluster!(server, Keyword.merge(quick() ++ @reader, more))

  # Soon to notice what happens to nodes. Beside other tests even a node that is well may be silent for a second.
  defp quick do
    [
      timeout: @timeout,
      heartbeat_interval: 500,
      heartbeat_timeout: if(soak?(), do: 500, else: 2_000),
      reconnect: [min: 100, max: @reconnect_max]
    ]
  end

  defp ready!(servers, options) do
    points = for server <- servers, do: {server.host, server.port}
    ready_cluster!(hd(servers), Keyword.merge([contact_points: points], options))
  end

  @doc "A cluster of the superuser, whose requests all go to one node."
  def only!(server) do
    only = fn nodes, _context ->
      for node <- nodes, node.address == server.address, into: %{}, do: {node.host_id, :local}
    end

    name = admin!([server], load_balancing: {Policies.Balancing, only})
    eventually("it is connected to that node", fn -> node_at(name, server).state == :up end)
    name
  end

  @doc "A node as a cluster knows it, once it does."
  def node_at(name, server) do
    eventually("#{server.address} is known", fn ->
      {:ok, nodes} = Palladion.nodes(name)
      Enum.find(nodes, &(&1.address == server.address))
    end)
  end

  @doc "How many requests a node counts on the open connections of the role `reader`."
  def requests_of_readers(server) do
    select = "SELECT username, request_count FROM system_views.clients"
    rows = Palladion.query!(only!(server), select).rows
    Enum.sum(for %{"username" => "reader", "request_count" => count} <- rows, do: count)
  end

  @doc "Sends the caller `{event, metadata}` for each of a cluster's events of these names, for the time of the test."
  def tell_of(name, events) do
    id = {__MODULE__, make_ref()}
    :ok = :telemetry.attach_many(id, events, &__MODULE__.handle/4, {name, self()})
    ExUnit.Callbacks.on_exit(fn -> :telemetry.detach(id) end)
  end

  @doc false
  def handle(event, _measurements, %{cluster: name} = metadata, {name, pid}),
    do: send(pid, {event, Map.put(metadata, :received, System.monotonic_time(:millisecond))})

  def handle(_event, _measurements, _metadata, _other), do: :ok
end
