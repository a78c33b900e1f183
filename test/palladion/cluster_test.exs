defmodule Palladion.ClusterTest do
  use ExUnit.Case, async: true

  alias Palladion.Cluster
  alias Palladion.Cluster.NodeTable
  alias Palladion.{ConfigError, ConnectionError}
  alias Palladion.Test.Certificates

  @moduletag :capture_log

  test "a cluster that a registry names has its task supervisor, and no atom is made for it" do
    start_supervised!({Registry, keys: :unique, name: __MODULE__.Registry})

    name = start("a key")

    assert {:ok, %{table: table}} = Cluster.fetch(name)
    tasks = NodeTable.whereis_name({table, :tasks})
    assert Task.await(Task.Supervisor.async_nolink(tasks, fn -> 7 end)) == 7

    assert Process.info(tasks, :registered_name) in [[], {:registered_name, []}]
    pids = for {_id, pid, _type, _modules} <- Supervisor.which_children(name), do: pid
    assert tasks in pids

    # It is found by the same name after it was restarted.
    monitor = Process.monitor(tasks)
    Process.exit(tasks, :kill)
    assert_receive {:DOWN, ^monitor, :process, _pid, :killed}
    via = {:via, NodeTable, {table, :tasks}}
    assert again(fn -> GenServer.whereis(via) end) != tasks
  end

  describe "reloading TLS" do
    test "of a cluster without it has nothing to do" do
      name = :"plain_#{System.unique_integer([:positive])}"
      start_supervised!({Palladion, name: name, contact_points: ["127.0.0.1:1"], tls: false})
      assert {:error, %ConfigError{name: ^name, problems: [problem]}} = Palladion.reload_tls(name)
      assert %{path: [:tls], reason: :conflict} = problem
    end

    test "finds all that is wrong with what is to be taken" do
      name = :"secure_#{System.unique_integer([:positive])}"
      tls = [cacerts: [Certificates.chain().root], expiry_warning: false]
      start_supervised!({Palladion, name: name, contact_points: ["127.0.0.1:1"], tls: tls})

      for {changes, path} <- [
            {[certfile: "/nowhere"], [:tls, :certfile]},
            {[cerfile: "/nowhere"], [:tls, :cerfile]},
            {"nonsense", [:tls]},
            {%{certfile: "/nowhere"}, [:tls]},
            {nil, [:tls]}
          ] do
        assert {:error, %ConfigError{name: ^name, problems: problems}} =
                 Palladion.reload_tls(name, tls: changes)

        assert path in Enum.map(problems, & &1.path)
      end
    end

    test "of a cluster that there isn't" do
      assert {:error, %ConnectionError{reason: :unknown_cluster}} = Palladion.reload_tls(:nobody)
    end

    test "takes no other options" do
      for options <- [[timeout: -1], [timeout: "1"], [timeout: 0x100000000], [tsl: []]] do
        assert_raise ArgumentError, fn -> Palladion.reload_tls(:nobody, options) end
      end
    end

    test "shows nothing of options that are none" do
      for options <- [
            %{tls: %{password: "hunter2"}},
            [{:tls, [password: "hunter2"]} | "hunter2"],
            [{"tls", "hunter2"}],
            "hunter2"
          ] do
        {error, stacktrace} =
          try do
            Palladion.reload_tls(:nobody, options)
          rescue
            error -> {error, __STACKTRACE__}
          end

        assert %ArgumentError{} = error
        refute inspect({error, stacktrace}, limit: :infinity) =~ "hunter2"
      end
    end
  end

  describe "updating the login" do
    test "of a cluster without TLS sends no password that may not be sent" do
      name = :"plain_#{System.unique_integer([:positive])}"
      start_supervised!({Palladion, name: name, contact_points: ["127.0.0.1:1"], tls: false})

      assert {:error, %ConfigError{name: ^name, problems: [problem]}} =
               Palladion.update_auth(name, username: "ann", password: "hunter2")

      assert problem.reason == :plaintext_password
    end

    test "finds all that is wrong, and shows nothing of it" do
      name = :"secure_#{System.unique_integer([:positive])}"
      tls = [cacerts: [Certificates.chain().root], expiry_warning: false]
      start_supervised!({Palladion, name: name, contact_points: ["127.0.0.1:1"], tls: tls})

      for {changes, path} <- [
            {[passwort: "hunter2"], [:auth, :passwort]},
            {[password: "hunter2"], [:auth, :username]},
            {"hunter2", [:auth]},
            {%{password: "hunter2"}, [:auth]},
            {[{:password, "hunter2"} | "hunter2"], [:auth]}
          ] do
        assert {:error, %ConfigError{name: ^name, problems: problems} = error} =
                 Palladion.update_auth(name, changes)

        assert path in Enum.map(problems, & &1.path)
        refute inspect(error) =~ "hunter2"
      end

      assert Palladion.update_auth(name, username: "ann", password: "hunter2") == :ok
      assert Palladion.update_auth(name, username: "bob") == :ok
    end

    test "of a cluster that there isn't" do
      assert {:error, %ConnectionError{reason: :unknown_cluster}} =
               Palladion.update_auth(:nobody, [])
    end
  end

  # Nobody listens there.
  defp start(key) do
    name = {:via, Registry, {__MODULE__.Registry, key}}
    options = [name: name, contact_points: ["127.0.0.1:1"], tls: false]
    start_supervised!(Supervisor.child_spec({Palladion, options}, id: key))
    name
  end

  defp again(fun), do: fun.() || again(fun)
end
