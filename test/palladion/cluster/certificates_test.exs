defmodule Palladion.Cluster.CertificatesTest do
  use ExUnit.Case, async: true

  import Palladion.Test.{Certificates, ReloadLibrary}

  alias Palladion.Cluster.{Certificates, NodeTable}
  alias Palladion.{ConfigError, ConnectionError}

  @moduletag :capture_log

  setup :tmp_dir

  setup %{tmp_dir: dir} do
    ours = chain()
    files = [cacertfile: write!(dir, "ca.pem", pem(ours.root))] ++ identity(dir, ours)
    %{ours: ours, files: files}
  end

  defp identity(dir, chain) do
    [
      certfile: write!(dir, "client.pem", pem([chain.leaf, chain.intermediate])),
      keyfile: write!(dir, "client.key", key_pem(chain.key))
    ]
  end

  # Without warnings, which have their own tests.
  defp running(files, more \\ []) do
    context = new(files ++ Keyword.merge([expiry_warning: false], more))
    Map.put(context, :pid, start(context))
  end

  describe "a reload" do
    test "reads the files again and waits until the connections are replaced", context do
      reloading = running(context.files)
      id = attach()
      theirs = chain()
      write!(context.tmp_dir, "ca.pem", pem([context.ours.root, theirs.root]))
      identity(context.tmp_dir, theirs)

      task = reload(reloading)
      {tls, answer} = given()
      assert tls.cacerts == [context.ours.root, theirs.root]
      assert tls.cert_chain == [theirs.leaf, theirs.intermediate]
      assert Task.yield(task, 20) == nil

      connected(reloading, [{"db1:9042", %{generation: 1, not_after: nil}}])
      answer.(:ok)
      assert Task.await(task) == :ok

      assert [{[:tls, :reloaded], %{duration: duration}, %{trigger: :call, generation: 1}}] =
               events(reloading, id)

      assert duration >= 0
    end

    test "takes new options over those in force, for later ones as well", context do
      reloading = running(context.files)
      theirs = chain()
      other = write!(context.tmp_dir, "other.pem", pem(theirs.root))

      for changes <- [[cacertfile: other], []] do
        task = reload(reloading, changes)
        assert {%{cacerts: [root], cert_chain: [leaf, _]}, answer} = given()
        assert {root, leaf} == {theirs.root, context.ours.leaf}
        answer.(:ok)
        assert Task.await(task) == :ok
      end
    end

    test "waits for the one before it", context do
      reloading = running(context.files)
      first = reload(reloading)
      {_tls, answer_first} = given()
      others = for _ <- 1..3, do: reload(reloading)
      refute_receive {:tls_reload, _, _, _}, 20
      answer_first.(:ok)
      assert Task.await(first) == :ok

      for _ <- others do
        {_tls, answer} = given()
        refute_received {:tls_reload, _, _, _}
        answer.(:ok)
      end

      assert Task.await_many(others) == [:ok, :ok, :ok]
    end

    test "changes nothing where a file can't be used, and says all that is wrong", context do
      reloading = running(context.files)
      id = attach()
      in_force = NodeTable.certificates(reloading.table)
      write!(context.tmp_dir, "ca.pem", "nonsense")
      write!(context.tmp_dir, "client.key", key_pem(chain().key))

      assert {:error, %ConfigError{name: name, problems: problems} = error} =
               reloading |> reload() |> Task.await()

      assert name == reloading.name

      assert [[:tls, :cacertfile], [:tls, :keyfile]] =
               problems |> Enum.map(& &1.path) |> Enum.sort()

      refute_received {:tls_reload, _, _, _}
      assert NodeTable.certificates(reloading.table) == in_force

      assert [{[:tls, :reload_failed], %{duration: _}, metadata}] = events(reloading, id)
      assert metadata == %{trigger: :call, error: error, reason: :invalid_configuration}

      write!(context.tmp_dir, "ca.pem", pem(context.ours.root))
      identity(context.tmp_dir, context.ours)
      task = reload(reloading)
      {_tls, answer} = given()
      answer.(:ok)
      assert Task.await(task) == :ok
    end

    test "that the native library refuses changes nothing", context do
      reloading = running(context.files)
      in_force = NodeTable.certificates(reloading.table)
      refuse(reloading, [{:bad_config, %{option: "key", detail: "of an unknown kind"}}])

      assert {:error, %ConfigError{} = error} = reloading |> reload() |> Task.await()
      assert Exception.message(error) =~ "key: can't be used: of an unknown kind"
      assert NodeTable.certificates(reloading.table) == in_force

      refuse(reloading, [{:closed, %{}}])
      assert {:error, %ConnectionError{reason: :closed}} = reloading |> reload() |> Task.await()
    end

    test "with which no connection can be opened is in force nevertheless", context do
      reloading = running(context.files)
      id = attach()
      theirs = chain()
      write!(context.tmp_dir, "ca.pem", pem(theirs.root))
      task = reload(reloading)
      {_tls, answer} = given()
      unknown = {:unknown_ca, %{endpoint: "db1:9042"}}
      answer.({:error, {:no_connection, %{last_error: unknown}}})
      assert {:error, %ConnectionError{reason: :unknown_ca} = error} = Task.await(task)
      assert error.endpoint == "db1:9042"
      assert %{tls: %{cacerts: [root]}} = NodeTable.certificates(reloading.table)
      assert root == theirs.root

      assert [{[:tls, :reload_failed], _, %{reason: :unknown_ca, error: ^error}}] =
               events(reloading, id)
    end

    test "that takes too long is not waited for, and keeps no other", context do
      reloading = running(context.files)
      # Long enough for the files to be read on a slow machine.
      slow = reload(reloading, [], 1_000)
      {_tls, answer_slow} = given()

      assert {:error, %ConnectionError{reason: :timeout, details: details}} = Task.await(slow)
      assert %{timeout: 1_000, in_force: true} = details

      task = reload(reloading)
      {_tls, answer} = given()
      # Late, and about another one.
      answer_slow.({:error, {:unknown_ca, %{}}})
      answer.(:ok)
      assert Task.await(task) == :ok
    end

    test "that waits for another is told when its time is over, and is not begun", context do
      reloading = running(context.files)
      first = reload(reloading)
      {_tls, answer} = given()
      impatient = for ms <- [0, 1, 30], do: reload(reloading, [], ms)
      patient = reload(reloading)

      for {:error, error} <- Task.await_many(impatient) do
        assert %ConnectionError{reason: :timeout, details: %{in_force: false}} = error
        assert Exception.message(error) =~ "nothing of it is in force"
      end

      refute_received {:tls_reload, _, _, _}
      answer.(:ok)
      assert Task.await(first) == :ok
      {_tls, answer} = given()
      answer.(:ok)
      assert Task.await(patient) == :ok
      refute_received {:tls_reload, _, _, _}
    end

    test "that takes its time for reading is given up, and changes nothing", context do
      reloading = running(context.files)
      in_force = NodeTable.certificates(reloading.table)
      wait = fn -> receive(do: (:never -> nil)) end
      changes = [certfile: nil, keyfile: nil, cert: context.ours.leaf, key: wait]

      assert {:error, %ConfigError{problems: [%{reason: :timeout}]}} =
               reloading |> reload(changes, 30) |> Task.await()

      assert NodeTable.certificates(reloading.table) == in_force
      refute_received {:tls_reload, _, _, _}
    end

    test "holds no password", context do
      reloading = running(context.files)
      planted = "correct horse battery"
      key = Path.join(context.tmp_dir, "client.key")
      args = ~w(pkcs8 -topk8 -v2 aes-256-cbc -passout) ++ ["pass:" <> planted]
      changes = [keyfile: openssl!(key, "encrypted.key", args), password: planted]
      task = reload(reloading, Palladion.Config.seal(tls: changes)[:tls])
      {_tls, answer} = given()

      for term <- [:sys.get_state(reloading.pid), :ets.tab2list(reloading.table)] do
        refute inspect(term, limit: :infinity, structs: false) =~ planted
      end

      answer.(:ok)
      assert Task.await(task) == :ok
    end
  end

  describe "the process" do
    test "that is killed begins again what it was asked for", context do
      reloading = running(context.files)
      task = reload(reloading)
      {_tls, _answer} = given()
      Process.exit(reloading.pid, :kill)
      {_tls, answer} = given()
      answer.(:ok)
      assert Task.await(task) == :ok
    end

    test "that is killed each time is not tried for ever", context do
      reloading = running(context.files)
      task = reload(reloading)

      for _ <- 1..2 do
        assert_receive {:tls_reload, pid, _tls, _ref}, 5_000
        Process.exit(pid, :kill)
      end

      assert {:error, %ConnectionError{reason: :internal}} = Task.await(task)
      refute_received {:tls_reload, _, _, _}
    end

    test "that is another one knows what is in force", context do
      reloading = running(context.files)
      theirs = chain()
      changes = [cacertfile: write!(context.tmp_dir, "other.pem", pem(theirs.root))]
      task = reload(reloading, changes)
      {_tls, answer} = given()
      answer.(:ok)
      assert Task.await(task) == :ok

      monitor = Process.monitor(reloading.pid)
      Process.exit(reloading.pid, :kill)
      assert_receive {:DOWN, ^monitor, :process, _pid, :killed}
      task = reload(reloading)
      assert {%{cacerts: [root]}, answer} = given()
      assert root == theirs.root
      answer.(:ok)
      assert Task.await(task) == :ok
    end

    test "that has gone with its cluster is told of", context do
      %{table: table} = new(context.files)
      :ets.delete(table)
      assert {:error, %ConnectionError{reason: :closed}} = Certificates.reload(table, [], 5_000)
      assert Certificates.seen(table, "db1:9042", 0) == :ok
    end

    test "that doesn't come back is waited for as long as there is time", context do
      %{table: table} = new(context.files)
      assert {:error, %ConnectionError{reason: :timeout}} = Certificates.reload(table, [], 30)
    end
  end
end
