defmodule Palladion.Config.Auth.SigV4Test do
  use ExUnit.Case, async: true

  alias Palladion.Config.Auth.SigV4
  alias Palladion.Config.{Auth, Seal}
  alias Palladion.Secret

  @region [region: "eu-central-1"]
  @keys [access_key_id: "AKIDEXAMPLE", secret_access_key: "hunter2"]

  def keys(token), do: [access_key_id: "AKIDEXAMPLE", secret_access_key: token]

  # Without what is in the environment of the tests.
  defp parse(sigv4, environment \\ %{}, region \\ {:ok, nil}) do
    test = self()

    surroundings = %{
      environment: fn -> environment end,
      region: fn request ->
        send(test, {:region, request})
        region
      end
    }

    {auth, problems} = Auth.parse([sigv4: sigv4], false, surroundings)
    refute inspect(problems) =~ "hunter2"
    refute inspect(auth, structs: false, limit: :infinity) =~ "hunter2"
    assert :binary.match(:erlang.term_to_binary(auth), "hunter2") == :nomatch
    {auth, problems}
  end

  defp parse!(sigv4, environment \\ %{}, region \\ {:ok, nil}) do
    assert {auth, []} = parse(sigv4, environment, region)
    assert {:sigv4, method} = auth.method
    assert Auth.to_native(auth).method == {:sigv4, method}
    {method, auth.ask}
  end

  defp problems(sigv4, environment \\ %{}, region \\ {:ok, nil}) do
    {_auth, problems} = parse(sigv4, environment, region)
    Enum.map(problems, &{&1.path, &1.reason})
  end

  describe "the default chain" do
    test "gets what is of AWS in the environment" do
      environment = %{
        "AWS_REGION" => "eu-central-1",
        "AWS_SECRET_ACCESS_KEY" => "hunter2",
        "HOME" => "/home/app",
        "USERPROFILE" => "C:\\app",
        "DATABASE_PASSWORD" => "hunter2",
        "MY_AWS_KEY" => "hunter2"
      }

      for sigv4 <- [true, []] do
        assert {%{region: "eu-central-1", credentials: {:chain, chain}}, nil} =
                 parse!(sigv4, environment)

        assert chain.profile == nil
        assert Enum.all?(chain.environment, fn {_name, ref} -> is_reference(ref) end)

        assert chain.environment |> Enum.map(&elem(&1, 0)) |> Enum.sort() ==
                 ["AWS_REGION", "AWS_SECRET_ACCESS_KEY", "HOME", "USERPROFILE"]
      end
    end

    test "may take a profile" do
      assert {%{credentials: {:chain, %{profile: "shop", environment: []}}}, nil} =
               parse!([profile: "shop"] ++ @region)
    end

    test "asks the environment of this machine where there is no other" do
      assert %{environment: environment, region: region} = SigV4.surroundings()
      assert environment.() == System.get_env()
      assert is_function(region, 1)
    end
  end

  describe "keys" do
    test "become references" do
      token = ~c"hunter2+/="

      for options <- [@keys, [session_token: nil] ++ @keys, [session_token: token] ++ @keys],
          options <- [options, Seal.seal_auth(sigv4: options)[:sigv4]] do
        assert {%{region: "eu-central-1", credentials: {:static, static}}, nil} =
                 parse!(@region ++ options)

        assert static.access_key_id == "AKIDEXAMPLE"
        assert is_reference(static.secret_access_key)
        assert is_reference(static.session_token) == (options[:session_token] != nil)
      end
    end

    test "may be secrets or functions" do
      secret = Secret.wrap("hunter2")

      for value <- [secret, fn -> "hunter2" end] do
        keys = [access_key_id: fn -> "AKIDEXAMPLE" end, secret_access_key: value]
        assert {%{credentials: {:static, static}}, nil} = parse!(@region ++ keys)
        assert static.access_key_id == "AKIDEXAMPLE"
      end
    end

    test "are wanted whole" do
      for {options, missing} <- [
            {[access_key_id: "AKIDEXAMPLE"], [:secret_access_key]},
            {[secret_access_key: "hunter2"], [:access_key_id]},
            {[session_token: "hunter2"], [:access_key_id, :secret_access_key]},
            {[access_key_id: nil, secret_access_key: nil], [:access_key_id, :secret_access_key]}
          ] do
        assert problems(@region ++ options) ==
                 for(name <- missing, do: {[:auth, :sigv4, name], :required})
      end
    end

    test "have one problem for one mistake" do
      for {name, value, reason} <- [
            {:access_key_id, 17, :invalid_value},
            {:access_key_id, "", :empty},
            {:access_key_id, "AKID,EXAMPLE", :invalid_value},
            {:access_key_id, Secret.wrap("hunter2"), :invalid_value},
            {:secret_access_key, "hunter2\n", :invalid_value},
            {:secret_access_key, "", :empty},
            {:secret_access_key, fn -> raise "hunter2" end, :function_failed},
            {:session_token, "hunter2 hunter2", :invalid_value},
            {:session_token, {:hunter2}, :invalid_value}
          ] do
        options = Keyword.put(@region ++ @keys, name, value)
        expected = [{[:auth, :sigv4, name], reason}]
        assert problems(options) == expected
        assert problems(Seal.seal_auth(sigv4: options)[:sigv4]) == expected
      end
    end
  end

  describe "a function" do
    test "is asked later, and hidden with what it knows" do
      token = "hunter2"
      function = fn -> keys(token) end

      for callback <- [function, {__MODULE__, :keys, [token]}],
          options <- [
            [credentials: callback],
            Seal.seal_auth(sigv4: [credentials: callback])[:sigv4]
          ] do
        assert {%{credentials: {:ask, nil}}, {:aws_credentials, sealed}} =
                 parse!(@region ++ options)

        assert Seal.reveal(sealed) == callback
      end
    end

    test "is nothing else" do
      for bad <- [
            fn _ -> "hunter2" end,
            {__MODULE__, :keys, []},
            {MyApp.Nowhere, :keys, ["hunter2"]},
            "hunter2"
          ] do
        assert problems([credentials: bad] ++ @region) ==
                 [{[:auth, :sigv4, :credentials], :invalid_value}]
      end
    end
  end

  test "one form excludes the others" do
    callback = fn -> "hunter2" end

    for {options, option} <- [
          {[credentials: callback] ++ @keys, :credentials},
          {[profile: "shop"] ++ @keys, :profile},
          {[profile: "shop", credentials: callback], :profile},
          {[session_token: "hunter2", profile: "shop"], :profile}
        ] do
      assert problems(options ++ @region) == [{[:auth, :sigv4, option], :conflict}]
    end
  end

  describe "the region" do
    defp region(sigv4, environment, profile) do
      {%{region: region}, _ask} = parse!(sigv4, environment, profile)
      region
    end

    test "is the option's, the environment's, the profile's, in this order" do
      first = %{"AWS_REGION" => "us-east-1", "AWS_DEFAULT_REGION" => "us-east-2"}
      assert region(@region, first, {:ok, "us-west-1"}) == "eu-central-1"
      assert region([region: nil], first, {:ok, "us-west-1"}) == "us-east-1"
      assert region(true, Map.put(first, "AWS_REGION", ""), {:ok, "us-west-1"}) == "us-east-2"
      refute_received {:region, _}

      assert region([profile: "shop"], %{"AWS_X" => "1", "X" => "1"}, {:ok, "us-west-1"}) ==
               "us-west-1"

      assert_received {:region, %{profile: "shop", environment: [{"AWS_X", ref}]}}
      assert is_reference(ref)

      # For whoever the key is.
      assert region(@keys, %{}, {:ok, "us-west-1"}) == "us-west-1"
    end

    test "is in lower case" do
      for {option, environment, profile} <- [
            {[region: "EU-CENTRAL-1"], %{}, nil},
            {true, %{"AWS_REGION" => "EU-Central-1"}, nil},
            {true, %{}, "Eu-Central-1"}
          ] do
        assert region(option, environment, {:ok, profile}) == "eu-central-1"
      end
    end

    test "is missed, and nothing else is taken for one" do
      assert problems(true) == [{[:auth, :sigv4, :region], :required}]
      assert problems(region: "") == [{[:auth, :sigv4, :region], :invalid_value}]
      assert problems(region: :eu) == [{[:auth, :sigv4, :region], :invalid_value}]
      assert problems(region: "a b") == [{[:auth, :sigv4, :region], :invalid_value}]

      assert problems(true, %{"AWS_REGION" => "a/b"}) == [
               {[:auth, :sigv4, :region], :invalid_value}
             ]
    end

    test "a profile that can't be read is told" do
      error = {:error, {:bad_config, %{option: :profile, detail: "no such profile"}}}
      assert {_auth, [problem]} = parse([profile: "none"], %{}, error)
      assert problem.path == [:auth, :sigv4, :region]
      assert problem.message =~ "no such profile"
    end
  end

  test "other options are told, and what is no list is not shown" do
    assert problems([region_name: "hunter2"] ++ @region) ==
             [{[:auth, :sigv4, :region_name], :unknown_option}]

    assert {_auth, [%{message: message}]} = parse([session: "hunter2"] ++ @region)
    assert message =~ "a session is not needed"

    for bad <- ["hunter2", false, {"hunter2"}, %{secret_access_key: "hunter2"}] do
      assert problems(bad) == [{[:auth, :sigv4], :invalid_value}]
    end
  end
end
