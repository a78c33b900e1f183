defmodule Palladion.Config.Auth.UpdateTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1, write!: 3]

  alias Palladion.{Config, ConfigError, Secret}
  alias Palladion.Config.{Auth, Seal}

  @login [username: "app", password: "hunter2"]
  @sigv4 [region: "eu-central-1", access_key_id: "AKIDEXAMPLE", secret_access_key: "hunter2"]

  @cluster %{plaintext?: false, certificate?: true, login_timeout: 10_000, region: nil}

  defp parse!(options) do
    assert {%Auth{} = auth, []} = Auth.parse(options, false)
    auth
  end

  defp update!(options, changes) do
    assert {:ok, %Auth{} = auth} = Auth.update(parse!(options), changes, @cluster)
    refute inspect(auth, structs: false, limit: :infinity) =~ "hunter"
    auth
  end

  defp problems(options, changes) do
    assert {:error, problems} = Auth.update(options && parse!(options), changes, @cluster)
    refute inspect(problems) =~ "hunter"
    Enum.map(problems, &{&1.path, &1.reason})
  end

  defp names(options), do: options |> Keyword.keys() |> Enum.sort()

  test "changes go over what was given" do
    auth =
      update!([authorization_id: "reports", timeout: 7, require_auth: false] ++ @login,
        password: "hunter3"
      )

    assert {:sasl, %{credentials: {:static, login}}} = auth.method
    assert %{username: "app", authorization_id: "reports"} = login
    assert %{timeout: 7, require_auth: false} = auth

    assert update!(@login, timeout: 8).timeout == 8
    again = Auth.update(auth, [username: "other"], @cluster)
    assert {:ok, %{method: {:sasl, %{credentials: {:static, %{username: "other"}}}}}} = again
  end

  test "nil takes an option away" do
    auth = update!([authorization_id: "reports"] ++ @login, authorization_id: nil)
    assert {:sasl, %{credentials: {:static, %{authorization_id: nil}}}} = auth.method
    assert problems(@login, password: nil) == [{[:auth, :password], :required}]
  end

  test "a username from a file and a password may come one after the other", context do
    %{tmp_dir: dir} = tmp_dir(context)
    file = {:file, write!(dir, "username", "app")}

    auth = update!([username: file, password: "hunter2"], Seal.seal_auth(password: "hunter3"))
    assert {:credentials, sealed} = auth.ask
    assert %{from: {:login, ^file, "hunter3"}} = Seal.reveal(sealed)

    # A password that only the native library can read.
    assert problems(@login, username: file) == [{[:auth, :password], :conflict}]
    again = Seal.seal_auth(username: file, password: "hunter3")
    assert {:credentials, _sealed} = update!(@login, again).ask

    # And no other is kept than such, where it can be.
    auth = update!(@login, Seal.seal_auth(password: "hunter3"))
    assert %Secret{ref: ref} = auth.source[:password]
    assert {:sasl, %{credentials: {:static, %{password: ^ref}}}} = auth.method
  end

  test "without changes, everything is asked for anew", context do
    %{tmp_dir: dir} = tmp_dir(context)
    file = write!(dir, "password", "hunter2")
    test = self()

    password = fn ->
      send(test, :called)
      "hunter2"
    end

    auth = parse!(username: "app", password: password)
    assert_received :called
    assert {:ok, %Auth{}} = Auth.update(auth, [], @cluster)
    assert_received :called

    auth = parse!(username: "app", password: {:file, file})
    File.rm!(file)
    assert {:error, [%{reason: :unreadable}]} = Auth.update(auth, [], @cluster)

    environment = fn name -> %{environment: fn -> %{"AWS_REGION" => name} end, region: nil} end
    {auth, []} = Auth.parse([sigv4: true], false, environment.("us-east-1"))
    assert {:ok, updated} = Auth.update(auth, [], @cluster, environment.("us-west-2"))
    assert {:sigv4, %{region: "us-west-2"}} = updated.method
  end

  test "another form takes the place of the one before, with all that belongs to it" do
    function = fn _endpoint -> nil end
    external = [mechanism: :external, authorization_id: "me"]
    password = [mechanism: :plain, authorization_id: "me"] ++ @login

    for {below, above, left} <- [
          {password, [credentials: function], [:authorization_id, :credentials, :mechanism]},
          {[credentials: function], @login, [:password, :username]},
          {password, [sigv4: @sigv4], [:sigv4]},
          {password, [mechanism: :external], [:mechanism]},
          {external, @login, [:password, :username]},
          {external, [mechanism: [:plain]] ++ @login, [:mechanism, :password, :username]},
          {external, [mechanism: :anonymous], [:authorization_id, :mechanism]},
          {[sigv4: true], @login, [:password, :username]},
          {[sigv4: true], external, [:authorization_id, :mechanism]},
          {@login, [authenticator: MyApp.Own], [:authenticator]},
          {[authenticator: MyApp.Own], @login, [:password, :username]}
        ] do
      assert names(Auth.override([timeout: 7] ++ below, above)) == Enum.sort([:timeout | left])

      assert names(Auth.override(Seal.seal_auth(below), Seal.seal_auth(above))) == left
    end

    assert {:sasl, %{credentials: {:none, nil}}} = update!(password, mechanism: :external).method
  end

  test "and so within sigv4" do
    for {above, left} <- [
          {[region: "us-east-1"], [:access_key_id, :region, :secret_access_key]},
          {[secret_access_key: "hunter3"], [:region, :secret_access_key]},
          {[profile: "shop"], [:profile, :region]},
          {[credentials: fn -> nil end], [:credentials, :region]}
        ] do
      [sigv4: merged] = Auth.override([sigv4: @sigv4], sigv4: above)
      assert names(merged) == left
    end

    assert Auth.override([sigv4: @sigv4], sigv4: true) == [sigv4: true]
    assert Auth.override([sigv4: true], sigv4: @sigv4) == [sigv4: @sigv4]

    assert {:sigv4,
            %{region: "us-east-1", credentials: {:static, %{access_key_id: "AKIDEXAMPLE"}}}} =
             update!([sigv4: @sigv4], sigv4: [region: "us-east-1"]).method
  end

  test "AWS' keys are one thing, and no token of before goes with new ones" do
    token = [session_token: "hunter2"] ++ @sigv4
    new = [access_key_id: "AKIDOTHER", secret_access_key: "hunter3"]

    assert {:sigv4, %{credentials: {:static, keys}}} = update!([sigv4: token], sigv4: new).method

    assert %{access_key_id: "AKIDOTHER", session_token: nil} = keys

    # And so where a child specification is put over the environment.
    [sigv4: merged] = Auth.override([sigv4: token], sigv4: new)
    assert names(merged) == [:access_key_id, :region, :secret_access_key]

    for {changes, missing} <- [
          {[secret_access_key: "hunter3"], [:access_key_id]},
          {[access_key_id: "AKIDOTHER"], [:secret_access_key]},
          {[session_token: "hunter3"], [:access_key_id, :secret_access_key]},
          {[session_token: nil], [:access_key_id, :secret_access_key]}
        ] do
      assert problems([sigv4: token], sigv4: changes) ==
               for(name <- missing, do: {[:auth, :sigv4, name], :required})
    end
  end

  test "nil that takes nothing away is a variable that is unset" do
    function = fn -> nil end
    both = [{[:auth, :username], :required}, {[:auth, :password], :required}]

    keys =
      for name <- [:access_key_id, :secret_access_key], do: {[:auth, :sigv4, name], :required}

    no_keys = [access_key_id: nil, secret_access_key: nil]
    in_sigv4 = &[{[:auth, :sigv4, &1], :required}]

    for {below, above, expected} <- [
          {[sigv4: @sigv4], [username: nil, password: nil], both},
          {[mechanism: :external], [username: nil, password: nil], both},
          {[sigv4: @sigv4], [credentials: nil], [{[:auth, :credentials], :required}]},
          {@login, [authenticator: nil], [{[:auth, :authenticator], :required}]},
          {@login, [sigv4: nil], [{[:auth, :sigv4], :required}]},
          {[sigv4: [region: "eu-west-1"]], [sigv4: no_keys], keys},
          {[sigv4: [region: "eu-west-1", profile: "shop"]], [sigv4: no_keys], keys},
          {[sigv4: [region: "eu-west-1", credentials: function]], [sigv4: no_keys], keys},
          {[sigv4: @sigv4], [sigv4: [credentials: nil]], in_sigv4.(:credentials)},
          {[sigv4: @sigv4], [sigv4: [profile: nil]], in_sigv4.(:profile)}
        ] do
      assert {above, problems(below, above)} == {above, expected}
      assert problems(below, Seal.seal_auth(above)) == expected
    end

    # What belongs to the form, and what another one replaces.
    update!(@login, sigv4: @sigv4, username: nil, password: nil)
    update!([sigv4: @sigv4], [sigv4: nil, credentials: nil] ++ @login)
    update!(@login, username: nil, password: nil, mechanism: :external)
    update!([sigv4: [region: "eu-west-1", profile: "shop"]], sigv4: [profile: nil])
  end

  test "the region that the cluster is in stays" do
    environment = %{
      environment: fn -> %{"AWS_REGION" => "us-east-1"} end,
      region: fn _profile -> flunk() end
    }

    update = fn options, changes ->
      Auth.update(parse!(options), changes, %{@cluster | region: "eu-west-1"}, environment)
    end

    pinned = [region: "eu-west-1"] ++ Keyword.delete(@sigv4, :region)

    for {options, changes} <- [
          {[sigv4: pinned], [sigv4: true]},
          {[sigv4: pinned], [sigv4: []]},
          {[sigv4: pinned], [sigv4: [region: nil]]},
          {[sigv4: pinned], [sigv4: [region: "EU-West-1"]]},
          {@login, [sigv4: true]},
          {@login, [sigv4: Keyword.delete(@sigv4, :region)]}
        ] do
      assert {:ok, %{method: {:sigv4, %{region: "eu-west-1"}}}} = update.(options, changes)
    end

    assert {:error, [%{path: [:auth, :sigv4, :region], reason: :conflict, message: message}]} =
             update.([sigv4: pinned], sigv4: [region: "us-east-1"])

    assert message =~ "us-east-1"
    assert message =~ "eu-west-1"
    assert {:ok, _auth} = update.([sigv4: pinned], @login)
  end

  test "what it needs of the cluster is asked for" do
    auth = parse!(@login)
    without = %{@cluster | certificate?: false}

    assert {:error, [%{path: [:auth, :mechanism], reason: :missing_certificate}]} =
             Auth.update(auth, [mechanism: :external], without)

    assert {:error, [%{path: [:auth, :mechanism], reason: :conflict}]} =
             Auth.update(auth, [mechanism: :external], %{without | plaintext?: true})

    assert {:ok, _auth} = Auth.update(auth, [mechanism: :external], @cluster)

    assert {:error, [%{path: [:auth, :timeout], reason: :conflict}]} =
             Auth.update(auth, [timeout: 10_000], @cluster)

    assert {:ok, %{timeout: 800}} = Auth.update(auth, [], %{@cluster | login_timeout: 1_000})
  end

  test "how it may log in stays as it is" do
    for name <- [:require_auth, :allow_plaintext_password, :allowed_authenticators] do
      assert problems(@login, [{name, true}]) == [{[:auth, name], :needs_restart}]
    end
  end

  test "what is wrong changes nothing" do
    assert problems(@login, passwrd: "hunter3") == [{[:auth, :passwrd], :unknown_option}]
    assert problems(@login, username: "a\0b") == [{[:auth, :username], :invalid_value}]
    assert problems(@login, sigv4: true, credentials: 17) == [{[:auth, :sigv4], :conflict}]

    for bad <- ["hunter3", %{password: "hunter3"}],
        do: assert(problems(@login, bad) == [{[:auth], :invalid_value}])
  end

  test "a cluster may have had no login" do
    assert {:ok, %Auth{require_auth: true}} = Auth.update(nil, @login, @cluster)
    assert problems(nil, []) == [{[:auth], :required}]

    assert {:error, [%{reason: :plaintext_password}]} =
             Auth.update(nil, @login, %{@cluster | plaintext?: true})
  end

  describe "Config.update_auth/5" do
    test "runs where nobody can look, and names the cluster" do
      test = self()

      password = fn ->
        send(test, {:called, self()})
        "hunter2"
      end

      auth = parse!(@login)

      assert {:ok, %Auth{} = updated} =
               Config.update_auth(MyApp.DB, auth, [password: password], @cluster)

      assert_received {:called, loader}
      assert loader != test
      assert {:ok, %Auth{}} = Config.update_auth(MyApp.DB, updated, [], @cluster)
      assert_received {:called, _}

      for {changes, reason} <- [
            {[passwrd: "hunter2"], :unknown_option},
            {[require_auth: false], :needs_restart},
            {[password: fn -> raise "hunter2" end], :function_failed},
            {"hunter2", :invalid_value}
          ] do
        assert {:error, %ConfigError{name: MyApp.DB, problems: [%{reason: ^reason}]} = error} =
                 Config.update_auth(MyApp.DB, auth, changes, @cluster)

        refute Exception.message(error) =~ "hunter2"
      end
    end

    test "takes no longer than it may" do
      changes = [password: fn -> Process.sleep(:infinity) end]

      assert {:error, %ConfigError{problems: [%{reason: :timeout}]}} =
               Config.update_auth(MyApp.DB, parse!(@login), changes, @cluster, 50)
    end
  end
end
