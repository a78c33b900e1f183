defmodule Palladion.Test.Cassandra do
  @moduledoc """
  Real servers for the integration tests.

      @moduletag :cassandra

      setup_all do
        %{server: Palladion.Test.Cassandra.server()}
      end

  A node is started by the first test that asks for it, shared by all that follow, and gone when the run ends, also when the
  run is killed. Tests that stop a node name one of their own (`server(:tls, name: :failure)`), for other tests go on using
  the shared one, and are tagged `:managed_server`.

  Tests of what a driver sees when a cluster changes have a cluster of their own, too:

      [one, two, three] = Palladion.Test.Cassandra.cluster(:tls, name: :topology)
      four = Palladion.Test.Cassandra.add([one, two, three])
      :ok = Palladion.Test.Cassandra.decommission(four)
      two = Palladion.Test.Cassandra.move(two, "127.0.0.9")
      :ok = Palladion.Test.Cassandra.hang(three)

  These return when all running nodes know. On two cores a cluster is there after 14 s, a node joins in 16 s, leaves in 15 s and
  moves in 11 s. The others take a node that hangs for dead after about 20 s, and for alive within a second after `resume/1`.

  With `PALLADION_TEST_SERVER=host:port` in the environment nothing is started and all tests use that server;
  `PALLADION_TEST_CA` (a PEM file; without it there is no TLS), `PALLADION_TEST_USER` and `PALLADION_TEST_PASSWORD` go with it.
  It is the only variant then: what needs another one, or a node to kill, carries the tag `:managed_server` too.

  `test/test_helper.exs` asks `exclude/0` what to leave out and calls `stop_all/0` after the suite.
  """

  use GenServer

  @script Path.expand("../../bin/cassandra", __DIR__)

  @typedoc """
  What a test connects to. `host` is a name that the certificate has. `certs_dir` has what `bin/cassandra certs` makes, such as
  `client.crt`, `client.key` and `client-enc.key` (password `changeit`).
  """
  @type server :: %{
          name: String.t() | nil,
          variant: atom,
          managed?: boolean,
          host: String.t(),
          address: String.t(),
          port: :inet.port_number(),
          cacertfile: Path.t() | nil,
          other_cacertfile: Path.t() | nil,
          certs_dir: Path.t() | nil,
          username: String.t() | nil,
          password: String.t() | nil
        }

  @doc "Whether servers can be had here, and else what is missing."
  @spec available?() :: :ok | {:missing, [String.t()]}
  def available? do
    if external() do
      :ok
    else
      case System.cmd(@script, ["check"]) do
        {_, 0} -> :ok
        {missing, _} -> {:missing, String.split(missing, "\n", trim: true)}
      end
    end
  end

  @doc """
  The tags to exclude. Missing servers are told loudly; where `CI` or `PALLADION_REQUIRE_SERVER` is set they are an error, so
  that no green run hides them.
  """
  @spec exclude() :: [atom]
  def exclude do
    case {available?(), external()} do
      {:ok, nil} ->
        []

      {:ok, _external} ->
        [:managed_server]

      {{:missing, missing}, _} ->
        if Enum.any?(["CI", "PALLADION_REQUIRE_SERVER"], &set?/1), do: raise(warning(missing))
        IO.puts(:stderr, warning(missing))
        [:cassandra, :managed_server]
    end
  end

  @doc """
  A running server: `:plain`, `:tls`, `:mtls`, `:mtlsauth` or `:mtlsfallback` (`bin/cassandra help` tells the differences).

  `name:` is for a node that isn't shared with tests that don't name it; `env:` has more of the script's variables for such a
  node, as `%{"CASS_SSL" => "jdk"}`.
  """
  @spec server(atom, name: atom | String.t(), env: %{String.t() => String.t()}) :: server
  def server(variant \\ :tls, opts \\ []) do
    case external() do
      nil ->
        "start" |> started(variant, Keyword.put_new(opts, :name, variant)) |> hd()

      server when variant == :tls ->
        server

      _ ->
        raise "PALLADION_TEST_SERVER is set: tag tests of #{inspect(variant)} with :managed_server"
    end
  end

  @doc "Three running nodes with one port, on 127.0.0.1 to 127.0.0.3; two racks of dc1, and dc2."
  @spec cluster(atom, name: atom, env: %{String.t() => String.t()}) :: [server]
  def cluster(variant \\ :tls, opts \\ []) do
    started("cluster", variant, Keyword.put_new(opts, :name, "cluster-#{variant}"))
  end

  @doc "SIGKILL. The data stays, for `restart/1`."
  @spec kill(server | [server]) :: :ok
  def kill(servers), do: call({:run, ["kill" | names(servers)]})

  defp names(servers), do: for(%{managed?: true, name: name} <- List.wrap(servers), do: name)

  @doc "SIGKILL, and the data is gone. Who asks for the server next gets a new one."
  @spec wipe(server) :: :ok
  def wipe(%{managed?: true, name: name}), do: call({:wipe, name})

  @doc "What a node has written to its standard output and error since it was started."
  @spec output(server) :: String.t()
  def output(server), do: read!(server, "logs/stdout.log")

  @doc "What a node has logged since it was started."
  @spec log(server) :: String.t()
  def log(server), do: read!(server, "logs/system.log")

  @doc "A node's configuration, `cassandra.yaml`."
  @spec yaml(server) :: String.t()
  def yaml(server), do: read!(server, "conf/cassandra.yaml")

  defp read!(%{managed?: true, name: name}, file) do
    run = System.get_env("CASS_RUN", Path.expand("../../_build/cassandra", __DIR__))
    File.read!(Path.join([run, name, file]))
  end

  @doc "Starts nodes again, with their ports and data, and waits until a login works. Of a cluster that is all gone, give all."
  @spec restart(server | [server]) :: :ok
  def restart(servers), do: call({:run, ["restart" | names(servers)]})

  @doc """
  Bootstraps one more node into a running cluster and returns it. Its address is the first of 127.0.0.1 to 127.0.0.9 that no node
  of the cluster has.

  `dc:` and `rack:` are `"dc1"` and `"r1"` unless given; they may be new ones. All other settings are those of a node that is
  there.

      four = Palladion.Test.Cassandra.add(cluster, dc: "dc2", rack: "r2")
  """
  @spec add([server, ...], dc: String.t(), rack: String.t()) :: server
  def add([%{managed?: true, name: name} | _], opts \\ []) do
    {:ok, servers} = call({:add, name, [opts[:dc] || "dc1", opts[:rack] || "r1"]})
    List.last(servers)
  end

  @doc """
  Lets a node give its data to the others and leave the ring. Then it is gone, and its name and address are free for `add/2`.
  """
  @spec decommission(server) :: :ok
  def decommission(%{managed?: true, name: name}) do
    {:ok, _servers} = call({:decommission, name})
    :ok
  end

  @doc """
  Stops a node in good order and starts it again at another address of 127.0.0.1 to 127.0.0.9, with its port, data and host_id.
  What it returns takes the place of the server that was given.
  """
  @spec move(server, String.t()) :: server
  def move(%{managed?: true, name: name}, address) do
    {:ok, servers} = call({:move, name, address})
    Enum.find(servers, &(&1.name == name))
  end

  @doc "SIGSTOP: connections stay open and new ones are taken, but nothing answers."
  @spec hang(server) :: :ok
  def hang(%{managed?: true, name: name}), do: call({:run, ["hang", name]})

  @doc "SIGCONT, after `hang/1`. What came in meanwhile is answered then."
  @spec resume(server) :: :ok
  def resume(%{managed?: true, name: name}), do: call({:run, ["resume", name]})

  @doc "Removes all that was started."
  @spec stop_all() :: :ok
  def stop_all do
    if GenServer.whereis(__MODULE__), do: call(:stop_all), else: :ok
  end

  # ---- one process, so that a node is started once however many tests ask at a time

  @impl GenServer
  def init(nil), do: {:ok, %{}}

  @impl GenServer
  def handle_call({:start, command, variant, opts}, _from, groups) do
    name = "test-#{System.pid()}-#{opts[:name]}"
    env = [{"CASS_NAME", name} | Enum.to_list(opts[:env] || %{})]

    with nil <- groups[name],
         {:ok, output} <- run([command, to_string(variant)], env) do
      servers = parse_ready(output)
      {:reply, {:ok, servers}, Map.put(groups, name, servers)}
    else
      {:error, _} = error -> {:reply, error, groups}
      servers -> {:reply, {:ok, servers}, groups}
    end
  end

  def handle_call({:run, args}, _from, groups), do: {:reply, run(args), groups}

  def handle_call({:add, member, args}, _from, groups) do
    change(groups, member, ["add", cluster_of(member) | args], &(&1 ++ parse_ready(&2)))
  end

  def handle_call({:decommission, member}, _from, groups) do
    change(groups, member, ["decommission", member], fn servers, _output ->
      Enum.reject(servers, &(&1.name == member))
    end)
  end

  def handle_call({:move, member, address}, _from, groups) do
    change(groups, member, ["move", member, address], fn servers, output ->
      [moved] = parse_ready(output)
      Enum.map(servers, &if(&1.name == member, do: moved, else: &1))
    end)
  end

  def handle_call({:wipe, name}, _from, groups) do
    {:reply, run(["wipe", name]), Map.delete(groups, name)}
  end

  def handle_call(:stop_all, _from, groups) do
    names = for {_, servers} <- groups, server <- servers, do: server.name
    {:reply, if(names == [], do: {:ok, ""}, else: run(["wipe" | names])), %{}}
  end

  # What `stop_all/0` removes, and `cluster/2` gives to who asks next, is what there is then.
  defp change(groups, member, args, update) do
    case run(args) do
      {:ok, output} ->
        servers = update.(groups[cluster_of(member)], output)
        {:reply, {:ok, servers}, Map.put(groups, cluster_of(member), servers)}

      {:error, _} = error ->
        {:reply, error, groups}
    end
  end

  defp cluster_of(member), do: String.replace(member, ~r/-\d$/, "")

  defp started(command, variant, opts) do
    {:ok, servers} = call({:start, command, variant, opts})
    servers
  end

  # Not linked: the test that asks first is not the last that needs it.
  defp call(request) do
    with {:error, {:already_started, _}} <- GenServer.start(__MODULE__, nil, name: __MODULE__),
         do: :ok

    case GenServer.call(__MODULE__, request, :infinity) do
      {:ok, output} when is_binary(output) -> :ok
      {:ok, servers} -> {:ok, servers}
      {:error, message} -> raise message
    end
  end

  defp run(args, env \\ []) do
    env = [{"CASS_PORT", "0"}, {"CASS_OWNER_PID", System.pid()} | env]

    case System.cmd(@script, args, env: env, stderr_to_stdout: true) do
      {output, 0} ->
        {:ok, output}

      {output, code} ->
        {:error, "bin/cassandra #{Enum.join(args, " ")} failed with #{code}:\n#{output}"}
    end
  end

  defp parse_ready(output) do
    [_, ready] = Regex.run(~r/ready (.*)\s*\z/, output)

    fields =
      for field <- String.split(ready),
          into: %{},
          do: List.to_tuple(String.split(field, "=", parts: 2))

    certs_dir = fields["ca"] && Path.dirname(fields["ca"])

    for {name, address} <-
          Enum.zip(String.split(fields["name"], ","), String.split(fields["host"], ",")) do
      %{
        name: name,
        variant: String.to_atom(fields["variant"]),
        managed?: true,
        host: if(address == "127.0.0.1", do: "localhost", else: address),
        address: address,
        port: String.to_integer(fields["port"]),
        cacertfile: fields["ca"],
        other_cacertfile: certs_dir && Path.join(certs_dir, "other-ca.crt"),
        certs_dir: certs_dir,
        username: fields["user"],
        password: fields["password"]
      }
    end
  end

  # ---- a server from elsewhere

  defp external do
    if set?("PALLADION_TEST_SERVER") do
      [_, host, port] =
        Regex.run(~r/^\[?(.+?)\]?:(\d+)$/, System.fetch_env!("PALLADION_TEST_SERVER"))

      %{
        name: nil,
        variant: :tls,
        managed?: false,
        host: host,
        address: address(host),
        port: String.to_integer(port),
        cacertfile: System.get_env("PALLADION_TEST_CA"),
        other_cacertfile: nil,
        certs_dir: nil,
        username: System.get_env("PALLADION_TEST_USER", "cassandra"),
        password: System.get_env("PALLADION_TEST_PASSWORD", "cassandra")
      }
    end
  end

  defp address(host) do
    host = String.to_charlist(host)

    with {:error, _} <- :inet.getaddr(host, :inet),
         {:error, reason} <- :inet.getaddr(host, :inet6) do
      raise "PALLADION_TEST_SERVER: no address for #{host} (#{reason})"
    else
      {:ok, address} -> address |> :inet.ntoa() |> to_string()
    end
  end

  defp set?(variable), do: System.get_env(variable, "") not in ["", "0", "false"]

  defp warning(missing) do
    """

    ************************************************************************
    The tests with a real Cassandra are LEFT OUT. Missing here:
    #{Enum.map_join(missing, "\n", &"  * #{&1}")}
    bin/setup installs it, or says how; or point the tests to a server:
      PALLADION_TEST_SERVER=host:port PALLADION_TEST_CA=ca.pem mix test
    ************************************************************************
    """
  end
end
