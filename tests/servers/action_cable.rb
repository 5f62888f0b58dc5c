# Rails' Action Cable (Debian's ruby-actioncable and puma) as a target: a channel with rooms, whose `speak` is broadcast.
#
# Prints the port once it listens; ends when its standard input does.
require "logger"
require "action_cable"
require "active_support/all"
require "puma"
require "puma/server"
require "puma/events"
require "rack"

class ApplicationConnection < ActionCable::Connection::Base; end

class ChatChannel < ActionCable::Channel::Base
  def subscribed
    return reject if params[:room].blank?

    stream_from "chat_#{params[:room]}"
  end

  def speak(data)
    ActionCable.server.broadcast("chat_#{params[:room]}", { body: data["body"] })
  end
end

ActionCable.server.config.tap do |config|
  config.logger = Logger.new(nil)
  config.cable = { "adapter" => "async" }
  config.disable_request_forgery_protection = true
  config.connection_class = -> { ApplicationConnection }
  config.worker_pool_size = 4
end

app = Rack::Builder.new { map("/cable") { run ActionCable.server } }
server = Puma::Server.new(app.to_app, Puma::Events.null)
listener = server.add_tcp_listener("127.0.0.1", 0)
server.run
STDOUT.puts listener.addr[1]
STDOUT.flush
STDIN.read
exit!(0)
