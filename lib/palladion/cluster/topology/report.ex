defmodule Palladion.Cluster.Topology.Report do
  @moduledoc false
  # What the topology tells in the log and by telemetry. What stays as it is from refresh to
  # refresh is told once.

  alias Palladion.{Error, Node}
  alias Palladion.Cluster.Topology.Rows
  alias Palladion.Config.Options

  # The last refresh's oddities, the nodes without an endpoint, and the datacenters compared.
  defstruct notes: [], unresolved: [], datacenters: nil

  @type t :: %__MODULE__{}
  @type action ::
          {:log, Logger.level(), String.t()}
          | {:telemetry, [atom(), ...], measurements :: map(), metadata :: map()}

  # As the protocol writes them; others are to come, perhaps.
  @changes %{"CREATED" => :created, "UPDATED" => :updated, "DROPPED" => :dropped}
  @targets %{
    "KEYSPACE" => :keyspace,
    "TABLE" => :table,
    "TYPE" => :type,
    "FUNCTION" => :function,
    "AGGREGATE" => :aggregate
  }

  @doc false
  @spec schema_change(map()) :: action()
  def schema_change(fields) do
    change = %{
      change: Map.get(@changes, fields[:change]),
      target: Map.get(@targets, fields[:target]),
      keyspace: fields[:keyspace],
      name: fields[:name]
    }

    {:telemetry, [:schema, :changed], %{}, change}
  end

  @doc false
  @spec refreshed(nodes :: non_neg_integer()) :: action()
  def refreshed(nodes), do: {:telemetry, [:topology, :refreshed], %{nodes: nodes}, %{}}

  @doc false
  @spec control(:opened | :closed, Rows.control()) :: action()
  def control(event, control) do
    peer = Map.take(control, [:endpoint, :address, :port])
    {:telemetry, [:control, event], %{}, peer}
  end

  @doc false
  @spec notes(t(), [Rows.note()]) :: {t(), [action()]}
  def notes(report, notes) do
    {%{report | notes: notes},
     for({level, text} <- notes -- report.notes, do: {:log, level, text})}
  end

  @doc false
  @spec local_datacenter(String.t(), Rows.control()) :: action()
  def local_datacenter(datacenter, control) do
    {:log, :info,
     "the local datacenter is #{inspect(datacenter)}, that of " <>
       "#{control.address}:#{control.port}; local_datacenter: names another"}
  end

  @doc false
  @spec refresh_failed(term(), failures :: pos_integer(), delay :: non_neg_integer()) :: action()
  def refresh_failed(error, failures, delay) do
    level = if failures == 1, do: :warning, else: :debug

    {:log, level,
     "the list of nodes can't be read, and stays as it is; next attempt in #{delay} ms: " <>
       describe(error)}
  end

  defp describe(:no_nodes), do: "the server's tables have no node with all that is needed"
  defp describe(:no_endpoints), do: "there is no endpoint for any node"

  defp describe(error), do: error |> Error.of_native() |> Exception.message()

  @doc false
  # Nodes that the resolver, or what names them, failed for, with the endpoint they had.
  @spec unresolved(t(), [{Node.t(), term()}]) :: {t(), [action()]}
  def unresolved(report, failed) do
    logs =
      for {node, reason} <- failed, node.host_id not in report.unresolved do
        what = if node.endpoint, do: "keeps the endpoint that it had", else: "is left out"
        {:log, :warning, "no endpoint for #{label(node)}, which #{what}: #{reason}"}
      end

    {%{report | unresolved: Enum.map(failed, fn {node, _reason} -> node.host_id end)}, logs}
  end

  @doc false
  @spec policy_failed(String.t()) :: action()
  def policy_failed(text) do
    {:log, :error,
     "load_balancing: the policy failed, and the nodes keep their distances: #{text}"}
  end

  @doc false
  # The first list says nothing new to whoever reads the log.
  @spec changes(map(), first? :: boolean()) :: [action()]
  def changes(%{added: added, removed: removed, moved: moved}, first?) do
    level = if first?, do: :debug, else: :info

    told =
      Enum.map(added, &{level, [:node, :added], &1, %{}, "added"}) ++
        Enum.map(removed, &{level, [:node, :removed], &1, %{}, "removed"}) ++
        for {before, node} <- moved do
          more = %{previous_address: before.address, previous_port: before.port}
          {level, [:node, :moved], node, more, "moved from #{before.address}:#{before.port}"}
        end

    Enum.flat_map(told, fn {level, event, node, more, what} ->
      [
        {:telemetry, event, %{}, Map.merge(metadata(node), more)},
        {:log, level, "#{label(node)} #{what}"}
      ]
    end)
  end

  defp metadata(node), do: Map.take(node, [:host_id, :address, :port, :datacenter, :rack])

  # What the server says is inspected: it must not write lines of its own into a log.
  defp label(node) do
    "node #{node.address}:#{node.port} (#{node.host_id}, datacenter #{inspect(node.datacenter)})"
  end

  @doc false
  # A local datacenter without nodes is a mistake, and told once for each list.
  @spec datacenters(t(), [Node.t()], String.t() | nil) :: {t(), [action()]}
  def datacenters(report, nodes, local) do
    list = for node <- nodes, do: {node.host_id, node.datacenter}
    known = nodes |> Enum.map(& &1.datacenter) |> Enum.uniq() |> Enum.sort()

    if list == report.datacenters or local == nil or local in known do
      {%{report | datacenters: list}, []}
    else
      there_are = Enum.map_join(known, ", ", &inspect/1)
      text = "local_datacenter: no node is in #{inspect(local)}; there are #{there_are}"
      text = Enum.join([text | List.wrap(Options.suggestion(local, known))], "; ")
      {%{report | datacenters: list}, [{:log, :error, text}]}
    end
  end
end
