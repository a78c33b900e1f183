defmodule Palladion.Doctor.ArgumentsTest do
  use ExUnit.Case, async: true

  alias Palladion.Doctor.Arguments

  defp options(argv) do
    {:ok, arguments} = argv |> OptionParser.split() |> Arguments.parse()
    arguments.options
  end

  defp error(argv) do
    {:error, message} = argv |> OptionParser.split() |> Arguments.parse()
    message
  end

  test "an endpoint" do
    assert Arguments.parse(["db1:9142"]) ==
             {:ok,
              %{
                options: [contact_points: ["db1:9142"]],
                password: nil,
                keyfile_password: nil,
                format: :text
              }}

    assert {:ok, %{format: :json}} = Arguments.parse(["db1", "--json"])
  end

  test "TLS" do
    assert options("db1 --cacertfile ca.pem --certfile c.pem --keyfile k.pem")[:tls] ==
             [cacertfile: "ca.pem", certfile: "c.pem", keyfile: "k.pem"]

    assert options("db1 --crlfile a --pinned 00ff")[:tls] == [crlfile: "a", pinned: "00ff"]
    assert options("db1 --pinned 00ff --pinned 11ee")[:tls] == [pinned: ["00ff", "11ee"]]

    assert options("db1 --verify-hostname a.example --server-name b.example")[:tls] ==
             [verify_hostname: "a.example", server_name_indication: "b.example"]

    assert options("db1 --no-verify-hostname")[:tls] == [verify_hostname: false]
    assert options("db1 --no-verify")[:tls] == [verify: :verify_none]
    assert options("db1 --no-tls")[:tls] == false
    refute Keyword.has_key?(options("db1"), :tls)
  end

  test "where the password comes from, and never it" do
    for {argv, password} <- [
          {"db1", nil},
          {"db1 --username ann", :prompt},
          {"db1 --username ann --password-env PW", {:env, "PW"}},
          {"db1 --username ann --password-stdin", :stdin}
        ] do
      assert {:ok, %{password: ^password}} = argv |> OptionParser.split() |> Arguments.parse()
    end

    assert options("db1 --username ann --no-tls --allow-plaintext-password")[:auth] ==
             [username: "ann", allow_plaintext_password: true]

    assert {:ok, %{keyfile_password: {:env, "KEY"}}} =
             Arguments.parse(~w(db1 --keyfile-password-env KEY))
  end

  test "other logins" do
    assert options("db1 --mechanism scram-sha-256 --username ann")[:auth] ==
             [username: "ann", mechanism: :scram_sha_256]

    assert options("db1 --mechanism SCRAM-SHA-256 --mechanism PLAIN --username ann")[:auth] ==
             [username: "ann", mechanism: [:scram_sha_256, :plain]]

    assert {:ok, %{password: nil, options: options}} =
             Arguments.parse(~w(db1 --mechanism external --authorization-id reports))

    assert options[:auth] == [authorization_id: "reports", mechanism: :external]
    assert options("db1 --sigv4")[:auth] == [sigv4: true]

    assert options("db1 --sigv4 --region eu-west-1 --aws-profile ops")[:auth] ==
             [sigv4: [region: "eu-west-1", profile: "ops"]]
  end

  test "a password on the command line is refused, and not repeated" do
    for argv <- [
          ~w(db1 --username ann --password hunter2),
          ~w(db1 --password=hunter2),
          ~w(--password hunter2 db1)
        ] do
      assert {:error, message} = Arguments.parse(argv)
      assert message =~ "--password-env"
      refute message =~ "hunter2"
    end

    for argv <- [~w(db1 --passwd hunter2), ~w(db1 hunter2), ~w(db1 --pasword=hunter2)] do
      assert {:error, message} = Arguments.parse(argv)
      refute message =~ "hunter2"
    end
  end

  test "a configured cluster" do
    assert options("--otp-app my_app --name MyApp.DB") == [otp_app: :my_app, name: MyApp.DB]
    assert options("--otp-app my_app --name db")[:name] == :db
    assert options("--otp-app my_app --name :db")[:name] == :db

    assert options("db1 --otp-app my_app --name MyApp.DB") ==
             [contact_points: ["db1"], otp_app: :my_app, name: MyApp.DB]
  end

  test "one timeout for all steps" do
    assert options("db1 --timeout 17") ==
             [contact_points: ["db1"], connect_timeout: 17, tls_timeout: 17, login_timeout: 17]
  end

  test "what makes no sense" do
    assert error("") =~ "needs HOST:PORT"
    assert error("db1 db2") =~ "takes one HOST:PORT"
    assert error("--otp-app my_app") =~ "needs --name"
    assert error("db1 --name MyApp.DB") =~ "needs --otp-app"
    assert error("db1 --cacertfil x") =~ "did you mean --cacertfile?"
    assert error("db1 --zzz") == "--zzz is no option"
    assert error("db1 --timeout soon") =~ "--timeout has no value, or not the right kind"
    assert error("db1 --cacertfile") =~ "--cacertfile has no value"
    assert error("db1 --no-tls --cacertfile x") =~ "--cacertfile has no effect with --no-tls"
    assert error("db1 --crlfile a --crlfile b") =~ "--crlfile once"
    assert error("db1 --verify-hostname x --no-verify-hostname") =~ "takes one of"
    assert error("db1 --no-verify-hostname --verify-hostname x") =~ "takes one of"
    assert error("db1 --username a --password-env A --password-stdin") =~ "takes one of"
    assert error("db1 --sigv4 --username a") == "takes one of --sigv4 and --username"
    assert error("db1 --sigv4 --mechanism plain") == "takes one of --sigv4 and --mechanism"
    assert error("db1 --region eu-west-1") == "--region has no effect without --sigv4"
    assert error("db1 --aws-profile ops") == "--aws-profile has no effect without --sigv4"
    assert error("db1 --mechanism external --username a") =~ "--mechanism EXTERNAL"
    assert error("db1 --mechanism scram-sha-265") =~ "did you mean SCRAM-SHA-256?"
    assert error("db1 --mechanism hunter2") =~ "there are PLAIN, EXTERNAL"
    refute error("db1 --mechanism hunter2") =~ "hunter2"
  end

  test "help" do
    assert Arguments.parse(["--help"]) == :help
  end
end
