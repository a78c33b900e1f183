defmodule Palladion.Cluster.NodeTable do
  @moduledoc false
  # The nodes of a cluster, as the topology process knows them, for whoever asks: in an ETS table
  # of the cluster's supervisor, so that they are there while that process restarts. Other
  # processes of the cluster are found there, too: it is a registry for `{:via, NodeTable, name}`.

  import Kernel, except: [send: 2]

  alias Palladion.Node

  @type t :: :ets.table()

  @typedoc "A host id as the native library has it"
  @type id :: <<_::128>>

  @typedoc "The name of a process: the table of its cluster, and its role there"
  @type name :: {t(), atom()}

  @doc false
  @spec new() :: t()
  def new, do: :ets.new(__MODULE__, [:set, :public, read_concurrency: true])

  @doc false
  @spec put(t(), [Node.t()], removed :: [Node.t()]) :: true
  def put(table, nodes, removed) do
    :ets.insert(table, for(node <- nodes, do: {id(node), node}))

    for node <- removed do
      :ets.delete(table, id(node))
      :ets.delete(table, {:down, id(node)})
      :ets.delete(table, {:lost, id(node)})
    end

    # Nobody connects to them any more, to tell.
    for %{distance: :ignored} = node <- nodes, do: :ets.delete(table, {:lost, id(node)})

    true
  end

  @doc false
  # `nil` for a node that is not there any more.
  @spec get(t(), id() | nil) :: Node.t() | nil
  def get(table, id), do: value(table, id)

  defp value(table, key) do
    case :ets.lookup(table, key) do
      [{_key, value}] -> value
      [] -> nil
    end
  rescue
    # The cluster was stopped in between, and the table with it.
    ArgumentError -> nil
  end

  @doc false
  @spec all(t()) :: [{id(), Node.t()}]
  def all(table) do
    for {<<_::128>> = id, node} <- :ets.tab2list(table), do: {id, node}
  rescue
    ArgumentError -> []
  end

  @doc false
  @spec datacenters(t()) :: [String.t()]
  def datacenters(table) do
    for({_id, node} <- all(table), do: node.datacenter) |> Enum.uniq() |> Enum.sort()
  end

  @doc false
  @spec put_local_datacenter(t(), String.t()) :: true
  def put_local_datacenter(table, name), do: :ets.insert(table, {:local_datacenter, name})

  @doc false
  @spec local_datacenter(t()) :: String.t() | nil
  def local_datacenter(table) do
    case :ets.lookup(table, :local_datacenter) do
      [{_key, name}] -> name
      [] -> nil
    end
  end

  @doc false
  # What the servers say of a node, which counts where there is no connection to tell.
  @spec put_down(t(), Node.t(), boolean()) :: true
  def put_down(table, node, true), do: :ets.insert(table, {{:down, id(node)}, true})
  def put_down(table, node, false), do: :ets.delete(table, {:down, id(node)})

  @doc false
  # What was said is not known to hold any more.
  @spec forget_down(t()) :: true
  def forget_down(table), do: :ets.match_delete(table, {{:down, :_}, :_})

  @doc false
  @spec down?(t(), id()) :: boolean()
  def down?(table, id) do
    :ets.member(table, {:down, id})
  rescue
    ArgumentError -> false
  end

  @doc false
  # What connections tell: the last was lost, or none could be opened.
  @spec put_lost(t(), id(), boolean()) :: true
  def put_lost(table, id, true), do: :ets.insert(table, {{:lost, id}, true})
  def put_lost(table, id, false), do: :ets.delete(table, {:lost, id})

  @doc false
  @spec lost?(t(), id()) :: boolean()
  def lost?(table, id) do
    :ets.member(table, {:lost, id})
  rescue
    ArgumentError -> false
  end

  @doc false
  # What the certificates process knows, for the one that follows it.
  @spec put_certificates(t(), map()) :: true
  def put_certificates(table, known), do: :ets.insert(table, {:certificates, known})

  @doc false
  # `nil` before there is any, and when the cluster was stopped.
  @spec certificates(t()) :: map() | nil
  def certificates(table), do: value(table, :certificates)

  @doc false
  # The options of logins that are in force, and what else the process that answers them knows.
  @spec put_auth(t(), map()) :: true
  def put_auth(table, known), do: :ets.insert(table, {:auth, known})

  @doc false
  # `nil` when the cluster was stopped.
  @spec auth(t()) :: map() | nil
  def auth(table), do: value(table, :auth)

  @doc false
  @spec register_name(name(), pid()) :: :yes | :no
  def register_name({table, role} = name, pid) do
    case whereis_name(name) do
      :undefined ->
        :ets.insert(table, {{:name, role}, pid})
        :yes

      _taken ->
        :no
    end
  end

  @doc false
  @spec unregister_name(name()) :: true
  def unregister_name({table, role}), do: :ets.delete(table, {:name, role})

  @doc false
  # Nobody takes out the name of a process that ended.
  @spec whereis_name(name()) :: pid() | :undefined
  def whereis_name({table, role}) do
    with [{_key, pid}] <- :ets.lookup(table, {:name, role}), true <- Process.alive?(pid) do
      pid
    else
      _nobody -> :undefined
    end
  rescue
    ArgumentError -> :undefined
  end

  @doc false
  @spec send(name(), term()) :: pid()
  def send(name, message) do
    case whereis_name(name) do
      :undefined ->
        exit({:badarg, {name, message}})

      pid ->
        Kernel.send(pid, message)
        pid
    end
  end

  defp id(%Node{host_id: host_id}), do: Node.id(host_id)
end
