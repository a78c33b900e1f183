defmodule Palladion.Config.ReloadTLSTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.{Config, ConfigError, Secret}
  alias Palladion.Test.Certificates, as: Make

  @secret "hunter2"

  setup_all do
    %{chain: Make.chain()}
  end

  test "reads what was given once more, with changes over it", context do
    %{chain: chain} = context
    %{tmp_dir: dir} = tmp_dir(context)
    file = Make.write!(dir, "ca.pem", Make.pem(chain.root))
    options = [name: MyApp.DB, tls: [cacertfile: file, cert: chain.leaf, key: chain.key]]
    assert {:ok, config} = Config.load(options)

    other = Make.chain()
    Make.write!(dir, "ca.pem", Make.pem(other.root))
    assert {:ok, tls} = Config.reload_tls(config.name, config.tls, versions: [:"tlsv1.3"])
    assert %{cacerts: [root], cert_chain: [leaf], versions: [:"tlsv1.3"]} = tls
    assert {root, leaf} == {other.root, chain.leaf}
    assert Map.keys(Config.TLS.to_native(tls)) == Map.keys(Config.to_native(config).tls)
  end

  test "also of an application's environment", %{chain: chain} do
    Application.put_env(:palladion_reload_test, MyApp.DB, tls: [cacerts: [chain.root]])
    on_exit(fn -> Application.delete_env(:palladion_reload_test, MyApp.DB) end)
    assert {:ok, config} = Config.load(otp_app: :palladion_reload_test, name: MyApp.DB)
    assert {:ok, %{cacerts: [_]}} = Config.reload_tls(config.name, config.tls, [])
  end

  test "names the cluster in what is wrong, and shows nothing", %{chain: chain} do
    assert {:ok, config} = Config.load(name: MyApp.DB, tls: [cacerts: [chain.root]])

    for {changes, reason} <- [
          {[cacertfile: "none.pem"], :unreadable},
          {[passwrd: @secret], :unknown_option},
          {[key: @secret, cert: chain.leaf], :invalid_value},
          {[key_log: @secret], :needs_restart},
          {@secret, :invalid_value}
        ] do
      assert {:error, %ConfigError{name: MyApp.DB} = error} =
               Config.reload_tls(MyApp.DB, config.tls, changes)

      assert [%{reason: ^reason}] = error.problems
      refute inspect(error) =~ @secret
      refute Exception.message(error) =~ @secret
    end
  end

  test "runs functions where nobody can look", %{chain: chain} do
    test = self()

    key = fn ->
      send(test, {:called, self()})
      chain.key
    end

    tls = [cacerts: [chain.root], cert: chain.leaf, key: key]
    assert {:ok, config} = Config.load(name: MyApp.DB, tls: tls)
    assert_received {:called, first}
    assert {:ok, %{key: {:sec1, %Secret{}}}} = Config.reload_tls(config.name, config.tls, [])
    assert_received {:called, second}
    assert first != second and test not in [first, second]
  end

  test "takes no longer than it may", %{chain: chain} do
    assert {:ok, config} = Config.load(name: MyApp.DB, tls: [cacerts: [chain.root]])
    changes = [cert: chain.leaf, key: fn -> Process.sleep(:infinity) end]
    assert {:error, error} = Config.reload_tls(MyApp.DB, config.tls, changes, 20)
    assert [%{reason: :timeout}] = error.problems
  end
end
