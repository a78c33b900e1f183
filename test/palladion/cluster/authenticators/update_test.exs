defmodule Palladion.Cluster.Authenticators.UpdateTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureLog
  import Palladion.Test.AuthLibrary

  alias Palladion.Cluster.{Authenticators, NodeTable}
  alias Palladion.Config.{Auth, Seal, TLS}
  alias Palladion.{ConfigError, ConnectionError, Secret}

  @moduletag :capture_log

  @secret "correct horse battery"

  defp in_force(options) do
    {auth, []} = Auth.parse(options, false)
    auth
  end

  defp running(options \\ [username: "ann", password: "first"], more \\ []) do
    context = new(in_force(options), more)
    Map.put(context, :pid, start(context))
  end

  @cluster %{plaintext?: false, certificate?: false, login_timeout: 10_000, region: nil}

  defp update(context, changes, plaintext? \\ false) do
    cluster = %{@cluster | plaintext?: plaintext?}
    Authenticators.update(context.table, context.name, Seal.seal_auth(changes), cluster)
  end

  defp given do
    assert_receive {:auth_update, auth, _process}, 5_000
    auth
  end

  test "gives the native library what is new over what was there" do
    context = running()
    id = attach()
    Logger.put_module_level(Authenticators, :info)
    on_exit(fn -> Logger.delete_module_level(Authenticators) end)

    log = capture_log(fn -> assert update(context, password: @secret) == :ok end)

    assert %{method: {:sasl, %{credentials: {:static, credentials}}}} = given()
    assert %{username: "ann", password: password} = credentials
    assert is_reference(password)
    assert events(context, id) == [[:auth, :updated]]
    assert log =~ "Palladion #{inspect(context.name)}: auth: has been updated"
    refute log =~ @secret

    assert update(context, username: "bob") == :ok
    assert %{method: {:sasl, %{credentials: {:static, credentials}}}} = given()
    assert %{username: "bob", password: ^password} = credentials
  end

  test "is possible where there was no login" do
    context = new(nil) |> then(&Map.put(&1, :pid, start(&1)))
    assert update(context, username: "ann", password: "first") == :ok
    assert %{method: {:sasl, _}} = given()
  end

  test "lets logins that have begun end as they are, and asks for later ones anew" do
    first = fn _endpoint -> [username: "ann", password: "first"] end
    context = running(credentials: first)
    begin(context.pid, 1, :credentials)
    assert {:credentials, %{username: "ann", password: "first"}} = answer(1)

    second = fn endpoint -> [username: "bob", password: "at " <> endpoint.host] end
    assert update(context, credentials: second) == :ok
    assert %{method: {:sasl, %{credentials: {:ask, nil}}}} = given()
    begin(context.pid, 2, :credentials)
    assert {:credentials, %{username: "bob", password: "at db1.example"}} = answer(2)

    assert update(context, username: "ann", password: "first") == :ok
    begin(context.pid, 3, :credentials)
    assert error(3) == "the configuration has changed"
  end

  test "finds AWS credentials, and tells why there are none" do
    keys = [access_key_id: "id", secret_access_key: "key"]

    for {answer, told} <- [
          {keys,
           {:aws_credentials,
            %{access_key_id: "id", secret_access_key: "key", session_token: nil, expires_at: nil}}},
          {{:error, "the vault is sealed"},
           {:error, "the function returned an error: the vault is sealed"}}
        ] do
      context = running(sigv4: [region: "eu-west-1", credentials: fn -> answer end])
      send(context.pid, {:palladion_auth, 1, {:begin, :aws_credentials, nil}})
      assert answer(1) == told
      stop()
    end
  end

  test "that finds something wrong changes nothing, and says all of it" do
    context = running()
    before = NodeTable.auth(context.table)
    id = attach()

    assert {:error, %ConfigError{name: name, problems: problems}} =
             update(context, usrname: @secret, timeout: 0)

    assert name == context.name
    assert [[:auth, :timeout], [:auth, :usrname]] = problems |> Enum.map(& &1.path) |> Enum.sort()
    assert {:error, %ConfigError{} = error} = update(context, @secret)
    refute inspect(error) =~ @secret
    refute_received {:auth_update, _, _}
    assert NodeTable.auth(context.table) == before
    assert events(context, id) == []
  end

  test "keeps to what needs a restart, and to TLS" do
    context = running()

    for option <- [:require_auth, :allow_plaintext_password, :allowed_authenticators] do
      assert {:error, %ConfigError{problems: [%{reason: :needs_restart, path: [:auth, ^option]}]}} =
               update(context, [{option, true}])
    end

    assert {:error, %ConfigError{problems: [%{reason: :plaintext_password}]}} =
             update(context, [password: "second"], true)
  end

  test "needs a certificate that is in force, for a login by it" do
    context = running()
    changes = [mechanism: :external]

    assert {:error, %ConfigError{problems: [%{reason: :missing_certificate}]}} =
             update(context, changes)

    # A reload has brought one.
    NodeTable.put_certificates(context.table, %{tls: %TLS{key: {:pkcs8, Secret.wrap("key")}}})
    assert update(context, changes) == :ok
    NodeTable.put_certificates(context.table, %{tls: %TLS{}})
    assert {:error, %ConfigError{problems: [_problem]}} = update(context, changes)
  end

  test "that the native library refuses changes nothing" do
    context = running()
    before = NodeTable.auth(context.table)
    bad = fn -> {:error, {:bad_config, %{option: "mechanisms", detail: "unknown"}}} end
    closed = fn -> {:error, {:closed, %{}}} end
    outcomes(context, [bad, closed])

    assert {:error, %ConfigError{name: name} = error} = update(context, password: "second")
    assert name == context.name
    assert Exception.message(error) =~ "mechanisms: can't be used: unknown"

    assert {:error, %ConnectionError{reason: :closed}} = update(context, password: "second")
    assert NodeTable.auth(context.table) == before
  end

  test "is read once more where another one was faster" do
    context = running()
    test = self()

    slow = fn ->
      send(test, {:reading, self()})
      receive(do: ({:password, text} -> text))
    end

    task = Task.async(fn -> update(context, password: slow) end)
    assert_receive {:reading, first}, 5_000
    assert update(context, username: "bob") == :ok
    assert %{method: {:sasl, %{credentials: {:static, %{username: "bob"}}}}} = given()

    send(first, {:password, "second"})
    assert_receive {:reading, again}, 5_000
    send(again, {:password, "second"})
    assert Task.await(task) == :ok
    assert %{method: {:sasl, %{credentials: {:static, %{username: "bob"}}}}} = given()
  end

  test "many at a time are all in force in the end" do
    context = running()

    updates =
      for n <- 1..8 do
        Task.async(fn -> update(context, username: "user#{n}") end)
      end

    assert Enum.uniq(Task.await_many(updates)) == [:ok]
    assert NodeTable.auth(context.table).version == 8
  end

  describe "the process" do
    test "that is another one knows what is in force" do
      context = running()

      assert update(context, credentials: fn _ -> [username: "bob", password: "second"] end) ==
               :ok

      Process.exit(context.pid, :kill)
      assert_receive {:adopted, next}, 5_000
      begin(next, 1, :credentials)
      assert {:credentials, %{username: "bob"}} = answer(1)
    end

    test "that is killed while it updates does it again, once, and the library has what is in force" do
      context = running()
      outcomes(context, [&kill/0])
      assert update(context, username: "bob") == :ok

      assert ["bob", "ann", "bob"] ==
               for(_ <- 1..3, do: elem(elem(given().method, 1).credentials, 1).username)

      assert %{version: 1, updating?: false} = NodeTable.auth(context.table)
    end

    test "that is killed each time is not tried for ever" do
      context = running()
      # After each, the next process gives the library what is in force.
      outcomes(context, [&kill/0, fn -> {:ok, :ok} end, &kill/0])

      assert {:error, %ConnectionError{reason: :internal}} = update(context, username: "bob")
      assert_receive {:adopted, _next}, 5_000
    end

    test "that has gone with its cluster is told of" do
      context = running()
      stop_supervised!(Authenticators)
      :ets.delete(context.table)
      assert {:error, %ConnectionError{reason: :closed}} = update(context, username: "bob")
    end

    test "holds no secret, and is given none" do
      context = running(username: "ann", password: @secret)
      assert update(context, credentials: fn _ -> [username: "bob", password: @secret] end) == :ok
      begin(context.pid, 1, :credentials)
      assert {:credentials, %{password: @secret}} = answer(1)

      :sys.suspend(context.pid)
      task = Task.async(fn -> update(context, password: Secret.wrap(@secret), username: "c") end)
      {:messages, [message]} = messages(context.pid)

      for term <- [message, :sys.get_state(context.pid), :ets.tab2list(context.table)] do
        refute inspect(term, limit: :infinity, structs: false) =~ @secret
      end

      :sys.resume(context.pid)
      assert Task.await(task) == :ok
    end

    defp messages(pid) do
      case Process.info(pid, :messages) do
        {:messages, []} -> messages(pid)
        some -> some
      end
    end
  end

  defp kill, do: Process.exit(self(), :kill)

  defp stop do
    stop_supervised!(Authenticators)
    stop_supervised!(Agent)
  end
end
